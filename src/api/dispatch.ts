import * as v from "valibot";
import { LOGIN } from "../names.ts";
import { caRotations } from "./ca.ts";
import { keyLine, nameText } from "./fields.ts";

/** POST /v1/dispatch: which node, and a certificate for one call on it. */
export const DispatchRequest = v.strictObject({
  tag: v.optional(v.pipe(v.string(), v.maxLength(64))),
  /** An id or a unique name. */
  node_id: v.optional(v.pipe(v.string(), v.maxLength(64))),
  /** The user's name for a session; empty for none, as the Go program sends it. */
  session_id: v.optional(v.union(
    [v.literal(""), nameText("session")],
    "invalid session name: " +
      "1 to 64 of A-Z a-z 0-9 . _ -, not beginning with -",
  )),
  client_pubkey: keyLine,
  isolation: v.optional(v.pipe(v.string(), v.maxLength(4096))),
  /** A user of the node's system; empty for none. */
  login: v.optional(v.union(
    [v.literal(""), v.pipe(v.string(), v.regex(LOGIN))],
    "invalid login: 1 to 32 of A-Z a-z 0-9 . _ -, beginning with a letter or _",
  )),
});
export type DispatchRequest = v.InferOutput<typeof DispatchRequest>;

export const DispatchAnswer = v.object({
  node_id: v.string(),
  node_name: v.string(),
  addr: v.string(),
  host_pubkey: keyLine,
  /** = host_ca_pubkey, under the Go program's name */
  ca_pubkey: keyLine,
  user_cert: keyLine,
  principal: v.string(),
  session_created: v.boolean(),
  host_ca_pubkey: keyLine,
  user_ca_pubkey: keyLine,
  server_time: v.number(),
  ca_rotations: caRotations,
  isolation: v.string(),
});
export type DispatchAnswer = v.InferOutput<typeof DispatchAnswer>;
