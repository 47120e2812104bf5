import * as v from "valibot";
import { caRotations } from "./ca.ts";
import { addressText, arch, keyLine, nameText, nodeName, os, tagList } from "./fields.ts";
import { SignedStatement } from "./revocations.ts";

const DAY = 86_400;
/** How long an enrollment token lives: what is asked for is clamped to these, and the answer says what was given. */
export const ENROLL_TTL_SECONDS = {
  min: 60,
  standard: 900,
  max: DAY,
  /** Of a token for several nodes. */
  maxReusable: 30 * DAY,
} as const;

/** After how long a silence an ephemeral node is removed: a few heartbeats at least. */
export const EPHEMERAL_SECONDS = { min: 120, max: 30 * DAY } as const;

/** How many nodes one token makes. */
export const MAX_USES = 1000;

const whole = (what: string, { min, max }: { readonly min: number; readonly max: number }) =>
  v.pipe(
    v.number(),
    v.safeInteger(`${what} must be a whole number`),
    v.minValue(min, `${what} must be ${min} or more`),
    v.maxValue(max, `${what} must be ${max} or less`),
  );

/** POST /v1/enroll-tokens */
export const EnrollTokenRequest = v.strictObject({
  /** For people, in the list. */
  name: v.optional(nameText("name")),
  tags: tagList,
  ttl_seconds: v.optional(
    v.pipe(
      v.number(),
      v.safeInteger("ttl_seconds must be a whole number"),
      v.minValue(1, "ttl_seconds must be positive"),
    ),
    ENROLL_TTL_SECONDS.standard,
  ),
  /** How many nodes it makes. */
  reusable: v.optional(whole("reusable", { min: 1, max: MAX_USES }), 1),
  /** Its nodes are removed when nothing was heard of them for so long. */
  ephemeral_seconds: v.optional(whole("ephemeral_seconds", EPHEMERAL_SECONDS)),
});
export type EnrollTokenRequest = v.InferInput<typeof EnrollTokenRequest>;
export const EnrollToken = v.object({
  /** `enroll_<secret>.<CA fingerprint in base64url>` */
  token: v.string(),
  server: v.string(),
  expires_at: v.number(),
  ca_fingerprint: v.string(),
  /** For the list, and to revoke it. */
  id: v.optional(v.string()),
});
export type EnrollToken = v.InferOutput<typeof EnrollToken>;

/** An enrollment token as GET /v1/enroll-tokens shows it, without its secret; times in epoch seconds. */
export const EnrollTokenEntry = v.object({
  id: v.string(),
  name: v.nullable(v.string()),
  tags: v.array(v.string()),
  created_by: v.string(),
  created_at: v.number(),
  expires_at: v.number(),
  uses: v.number(),
  uses_left: v.number(),
  ephemeral_seconds: v.nullable(v.number()),
});
export type EnrollTokenEntry = v.InferOutput<typeof EnrollTokenEntry>;
export const EnrollTokenList = v.object({ enroll_tokens: v.array(EnrollTokenEntry) });

/** POST /v1/nodes/register. `proof` is optional only so that its absence can be answered with `upgrade_required`. */
export const RegisterRequest = v.object({
  enroll_token: v.pipe(v.string(), v.maxLength(256)),
  name: nodeName,
  host_pubkey: keyLine,
  addr: addressText,
  os,
  arch,
  tags: tagList,
  proof: v.optional(v.pipe(v.string(), v.maxLength(256))),
});
export type RegisterRequest = v.InferInput<typeof RegisterRequest>;

export const RegisterAnswer = v.object({
  node_id: v.string(),
  host_cert: keyLine,
  /** = user_ca_pubkey, under the Go program's name */
  ca_pubkey: keyLine,
  node_token: v.string(),
  host_ca_pubkey: keyLine,
  user_ca_pubkey: keyLine,
  ca_rotations: caRotations,
  account_id: v.string(),
  revocation_list: v.optional(SignedStatement),
  /** The node's tags: the token's, and those asked for that the token allows. */
  tags: v.array(v.string()),
});
export type RegisterAnswer = v.InferOutput<typeof RegisterAnswer>;
