import * as v from "valibot";
import { nodeName, tagList } from "./fields.ts";

/** A node as GET /v1/nodes shows it; times in epoch seconds, `last_seen` 0 before the first heartbeat. */
export const Node = v.object({
  id: v.string(),
  name: v.string(),
  addr: v.string(),
  os: v.string(),
  arch: v.string(),
  tags: v.array(v.string()),
  last_seen: v.number(),
  created_at: v.number(),
  online: v.boolean(),
  /** The list that it holds; null before it told. Stale: it may not know what was revoked since, and refuses new connections. */
  revocations: v.optional(v.nullable(
    v.object({ version: v.number(), age_seconds: v.number(), stale: v.boolean() }),
  )),
  /** It is removed when nothing was heard of it for so long. */
  ephemeral_seconds: v.optional(v.number()),
  /** Another machine beats as this node with a copy of its state; it is refused. */
  cloned: v.optional(v.boolean()),
});
export type Node = v.InferOutput<typeof Node>;

export const NodeList = v.object({ nodes: v.array(Node) });

/** PATCH /v1/nodes/{id}: the full desired state, so an absent `tags` empties them. */
export const NodePatch = v.object({
  name: v.pipe(
    v.optional(v.string(), ""),
    v.trim(),
    v.nonEmpty("name is required"),
    nodeName,
  ),
  tags: tagList,
});
export type NodePatch = v.InferOutput<typeof NodePatch>;
