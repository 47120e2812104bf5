import type { AbortOptions } from "../abort.ts";
import type { Node } from "../api/nodes.ts";
import { OpenboxError } from "../errors.ts";
import type { ControlClient } from "./control_client.ts";

/** The node with this id or, where only one has it, this name. */
export async function findNode(
  control: ControlClient,
  wanted: string,
  options: AbortOptions,
): Promise<Node> {
  const nodes = await control.nodes({}, options);
  const byId = nodes.find((node) => node.id === wanted);
  if (byId) return byId;
  const named = nodes.filter((node) => node.name === wanted);
  if (named.length === 1) return named[0]!;
  if (named.length > 1) {
    throw new OpenboxError("ambiguous", `${named.length} nodes have the name ${wanted}`, {
      hint: `say which by its id: ${named.map((node) => node.id).join(", ")}`,
    });
  }
  throw new OpenboxError("node_not_found", `No node has the id or name ${wanted}`, {
    hint: "openbox nodes",
  });
}
