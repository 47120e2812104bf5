/**
 * Which of somebody's grants of `run` are for a node. Nodes with the same ones are judged alike, so that of
 * ten thousand only a few kinds need judging.
 */
import type { Rights, RunAsk } from "./decide.ts";
import { type Grant, limitsOn } from "./grant.ts";

/** A text that is the same for nodes that are judged alike. */
export function reachOf({ rules, scopes }: Rights): (node: RunAsk["node"]) => string {
  const limits = [...rules.map(({ grant }) => grant), ...(scopes === "all" ? [] : scopes)]
    .filter(({ verb }) => verb === "run").map(toLimits).filter((limit) => limit !== undefined);
  return ({ id, name, tags }) => {
    let reach = "";
    for (const limit of limits) {
      const fits = (limit.tags === undefined || tags.some((tag) => limit.tags!.has(tag))) &&
        (limit.nodes === undefined || limit.nodes.has(id) || limit.nodes.has(name));
      reach += fits ? "1" : "0";
    }
    return reach;
  };
}

/** Undefined for a grant that is for every node. */
function toLimits(grant: Grant) {
  const tags = limitsOn(grant, "tag"), nodes = limitsOn(grant, "node");
  if (tags.length === 0 && nodes.length === 0) return undefined;
  return {
    tags: tags.length === 0 ? undefined : new Set(tags),
    nodes: nodes.length === 0 ? undefined : new Set(nodes),
  };
}
