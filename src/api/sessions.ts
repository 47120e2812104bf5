import * as v from "valibot";
import { idText, nameText } from "./fields.ts";

/** Of one heartbeat: those that live, and those whose loss nobody was told of. */
export const MAX_NODE_SESSIONS = 400;

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** A session as its node tells of it in the heartbeat. */
export const NodeSession = v.object({
  user_id: idText,
  name: nameText("session"),
  isolation: v.pipe(v.string(), v.maxLength(4096)),
  idle_ms: whole,
  /** Of the last command; null before the first has ended. */
  last_exit: v.nullable(v.pipe(whole, v.maxValue(255))),
  state: v.picklist(["idle", "busy", "lost"]),
});
export type NodeSession = v.InferOutput<typeof NodeSession>;

/** A session as GET /v1/sessions shows it; times in epoch seconds. */
export const Session = v.object({
  session_id: v.string(),
  node_id: v.string(),
  node_name: v.string(),
  created_at: v.number(),
  last_used: v.number(),
  isolation: v.string(),
  idle_ms: v.number(),
  last_exit: v.nullable(v.number()),
  /**
   * `idle`, `busy` and `lost` as the node said last; `new` before it said anything; `ended`: the node has
   * it no more; `offline`: nothing is heard of the node.
   */
  state: v.string(),
});
export type Session = v.InferOutput<typeof Session>;

export const SessionList = v.object({ sessions: v.array(Session) });
