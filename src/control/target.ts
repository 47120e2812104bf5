import { OpenboxError } from "../errors.ts";
import type { Target } from "../store/store.ts";

/** An empty text is what the Go CLI sends for none. */
export function readTarget(
  { tag, node_id }: { readonly tag?: string; readonly node_id?: string },
): Target {
  if (tag && node_id) {
    throw new OpenboxError("bad_request", "A tag and a node were named: one of them says where");
  }
  if (node_id) return { kind: "node", node: node_id };
  return tag ? { kind: "tag", tag } : { kind: "any" };
}
