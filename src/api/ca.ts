import * as v from "valibot";
import { keyLine } from "./fields.ts";

/** Statements by which trust went from key to key, for whoever pinned an older pair (docs/protocol.md). */
export const caRotations = v.optional(
  v.pipe(v.array(v.pipe(v.string(), v.maxLength(8192))), v.maxLength(2000)),
);

const kind = v.picklist(["host", "user"]);

const KindStatus = v.object({
  /** `standby`, `init` or `update`. */
  phase: v.string(),
  /** Epoch seconds; null before the first step. */
  changed_at: v.nullable(v.number()),
  /** Those that are trusted: the one of now, then the next one. */
  keys: v.array(v.object({ fingerprint: v.string(), public_key: keyLine })),
  /** Nodes that have not followed yet: some of them, and how many there are. */
  waiting: v.array(v.object({ id: v.string(), name: v.string(), online: v.boolean() })),
  waiting_count: v.number(),
});

/** GET /v1/ca, and what the other calls answer. */
export const CaStatus = v.object({
  ca_fingerprint: v.string(),
  /** The keys lie under a passphrase. */
  sealed: v.boolean(),
  /** And it was not given yet: no certificate is issued. */
  locked: v.boolean(),
  host: KindStatus,
  user: KindStatus,
});
export type CaStatus = v.InferOutput<typeof CaStatus>;
export type CaKindStatus = v.InferOutput<typeof KindStatus>;

export const CA_STEPS = ["init", "update", "finish", "rollback", "emergency"] as const;

/** POST /v1/ca/rotate */
export const CaRotateRequest = v.strictObject({
  step: v.picklist(CA_STEPS, `step must be one of ${CA_STEPS.join(", ")}`),
  /** Absent: those whose turn it is. */
  kinds: v.optional(v.pipe(v.array(kind), v.minLength(1), v.maxLength(2))),
  force: v.optional(v.boolean(), false),
});
export type CaRotateRequest = v.InferInput<typeof CaRotateRequest>;

/** POST /v1/ca/seal and /v1/ca/unseal */
export const CaPassphrase = v.object({
  passphrase: v.pipe(v.string(), v.minLength(1), v.maxLength(1024)),
});
export type CaPassphrase = v.InferOutput<typeof CaPassphrase>;
