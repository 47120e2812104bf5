import * as v from "valibot";
import { addressText, idText, keyLine } from "./fields.ts";
import { MAX_NODE_SESSIONS, NodeSession } from "./sessions.ts";

/** POST /v1/nodes/heartbeat, with the node's token as bearer. */
export const HeartbeatRequest = v.object({
  node_id: idText,
  addr: v.optional(addressText),
  version: v.optional(v.pipe(v.string(), v.maxLength(64))),
  boot_id: v.optional(v.pipe(v.string(), v.maxLength(64))),
  /** Decimal, since serials pass 2^53. */
  host_cert_serial: v.optional(v.pipe(v.string(), v.regex(/^[0-9]{1,20}$/))),
  load: v.optional(v.pipe(v.array(v.pipe(v.number(), v.finite())), v.length(3))),
  /** All that the node has; absent: it has none to tell of. */
  sessions: v.optional(v.pipe(v.array(NodeSession), v.maxLength(MAX_NODE_SESSIONS))),
});
export type HeartbeatRequest = v.InferOutput<typeof HeartbeatRequest>;

export const HeartbeatAnswer = v.object({
  /** Epoch seconds of the control plane, for the agent's note on clock skew. */
  server_time: v.number(),
  revocations: v.array(v.string()),
  /** Present when the certificate named in the request is past two thirds of its life, or unknown. */
  host_cert: v.optional(keyLine),
  /** To be ended: nobody is bound to them any more. */
  end_sessions: v.optional(v.array(v.object({ user_id: v.string(), name: v.string() }))),
});
export type HeartbeatAnswer = v.InferOutput<typeof HeartbeatAnswer>;
