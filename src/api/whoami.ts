import * as v from "valibot";
import { caRotations } from "./ca.ts";
import { keyLine } from "./fields.ts";

/** GET /v1/whoami */
export const Whoami = v.object({
  user_id: v.string(),
  name: v.string(),
  account_id: v.string(),
  host_ca_pubkey: keyLine,
  user_ca_pubkey: keyLine,
  ca_rotations: caRotations,
  /** When the token that asked ends, epoch seconds: the CLI warns 14 days before. */
  token_expires_at: v.optional(v.number()),
});
export type Whoami = v.InferOutput<typeof Whoami>;
