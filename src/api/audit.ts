import * as v from "valibot";

/** A record as GET /v1/audit shows it. `hash` covers all but the names; docs/protocol.md says how. */
export const AuditRecord = v.object({
  seq: v.number(),
  /** ISO 8601, to the millisecond. */
  time: v.string(),
  account_id: v.nullable(v.string()),
  action: v.string(),
  outcome: v.string(),
  actor: v.string(),
  /** Of a user or a node; null where there is none. */
  actor_name: v.nullable(v.string()),
  token_id: v.nullable(v.string()),
  source: v.nullable(v.string()),
  request_id: v.nullable(v.string()),
  subject: v.nullable(v.string()),
  subject_name: v.nullable(v.string()),
  detail: v.record(v.string(), v.nullable(v.union([v.string(), v.number(), v.boolean()]))),
  process: v.string(),
  uptime_ms: v.number(),
  /** Hexadecimal. */
  hash: v.string(),
});
export type AuditRecord = v.InferOutput<typeof AuditRecord>;

export const AuditPage = v.object({ records: v.array(AuditRecord) });

/** Of one page. */
export const MAX_AUDIT_RECORDS = 1000;

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "invalid hash: 64 hexadecimal digits"));
const seq = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** Where a chain ends. */
export const AuditHead = v.object({ seq, hash });
export type AuditHead = v.InferOutput<typeof AuditHead>;

/** POST /v1/audit/verify; `kept`: a head that somebody wrote down, which must be part of the chain. */
export const AuditVerifyRequest = v.object({ kept: v.optional(AuditHead) });
export type AuditVerifyRequest = v.InferOutput<typeof AuditVerifyRequest>;

export const AuditVerdict = v.object({
  /** The last record that is as it was written. */
  head: v.object({ seq: v.number(), hash: v.string() }),
  /** The first one that is not. */
  bad: v.nullable(v.object({ seq: v.number(), why: v.string() })),
});
export type AuditVerdict = v.InferOutput<typeof AuditVerdict>;
