import * as v from "valibot";
import { caRotations } from "./ca.ts";
import { addressText, idText, keyLine, seconds } from "./fields.ts";
import { SignedStatement } from "./revocations.ts";
import { MAX_NODE_SESSIONS, NodeSession } from "./sessions.ts";

const caSet = v.pipe(v.string(), v.regex(/^SHA256:[A-Za-z0-9+/]{43}$/));

/** POST /v1/nodes/heartbeat, with the node's token as bearer. */
export const HeartbeatRequest = v.object({
  node_id: idText,
  addr: v.optional(addressText),
  version: v.optional(v.pipe(v.string(), v.maxLength(64))),
  boot_id: v.optional(v.pipe(v.string(), v.maxLength(64))),
  /** Decimal, since serials pass 2^53. */
  host_cert_serial: v.optional(v.pipe(v.string(), v.regex(/^[0-9]{1,20}$/))),
  /** Of the revocation list that it holds: the version, and when it was signed (epoch seconds). */
  revocations_version: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  revocations_issued_at: v.optional(seconds),
  load: v.optional(v.pipe(v.array(v.pipe(v.number(), v.finite())), v.length(3))),
  /** Fingerprints of the CA keys that the node trusts, of each kind in their order. */
  ca_trusted: v.optional(v.object({ host: caSet, user: caSet })),
  /** All that the node has; absent: it has none to tell of. */
  sessions: v.optional(v.pipe(v.array(NodeSession), v.maxLength(MAX_NODE_SESSIONS))),
});
export type HeartbeatRequest = v.InferOutput<typeof HeartbeatRequest>;

export const HeartbeatAnswer = v.object({
  /** Epoch seconds of the control plane, for the agent's note on clock skew. */
  server_time: v.number(),
  /** Empty: what is revoked comes signed, in `revocation_list`. */
  revocations: v.array(v.string()),
  /** Present where the one named in the request is older, or was signed a while ago. */
  revocation_list: v.optional(SignedStatement),
  /** The one named in the request is not known here: POST /v1/nodes/revocations. */
  send_revocations: v.optional(v.boolean()),
  /** Present when the certificate named in the request is past two thirds of its life, or unknown. */
  host_cert: v.optional(keyLine),
  /** Present when the node does not trust the CA keys of now, and no others. */
  ca_rotations: caRotations,
  /** To be ended: nobody is bound to them any more. */
  end_sessions: v.optional(v.array(v.object({ user_id: v.string(), name: v.string() }))),
});
export type HeartbeatAnswer = v.InferOutput<typeof HeartbeatAnswer>;
