import * as v from "valibot";
import { caRotations } from "./ca.ts";
import { addressText, arch, keyLine, nameText, os, tagList } from "./fields.ts";

/** How long an enrollment token lives: what is asked for is clamped to these, and the answer says what was given. */
export const ENROLL_TTL_SECONDS = { min: 60, standard: 900, max: 86_400 } as const;

/** POST /v1/enroll-tokens */
export const EnrollTokenRequest = v.object({
  tags: tagList,
  ttl_seconds: v.optional(
    v.pipe(
      v.number(),
      v.safeInteger("ttl_seconds must be a whole number"),
      v.minValue(1, "ttl_seconds must be positive"),
    ),
    ENROLL_TTL_SECONDS.standard,
  ),
});
export const EnrollToken = v.object({
  /** `enroll_<secret>.<CA fingerprint in base64url>` */
  token: v.string(),
  server: v.string(),
  expires_at: v.number(),
  ca_fingerprint: v.string(),
});
export type EnrollToken = v.InferOutput<typeof EnrollToken>;

/** POST /v1/nodes/register. `proof` is optional only so that its absence can be answered with `upgrade_required`. */
export const RegisterRequest = v.object({
  enroll_token: v.pipe(v.string(), v.maxLength(256)),
  name: nameText("name"),
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
  /** The node's tags: the token's, and those asked for that the token allows. */
  tags: v.array(v.string()),
});
export type RegisterAnswer = v.InferOutput<typeof RegisterAnswer>;
