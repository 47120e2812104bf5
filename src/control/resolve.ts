/**
 * From what a caller asked for to one node. Pure, and without chance: two calls in a row reach the
 * same machine as long as it is online.
 */
import { OpenboxError } from "../errors.ts";
import type { Candidate, Target } from "../store/store.ts";

/** A node is online when it was heard from within this. */
export const ONLINE_MS = 90_000;

export const isOnline = (lastSeenAt: number, now: number): boolean => now - lastSeenAt <= ONLINE_MS;

export type Resolution =
  | { readonly kind: "found"; readonly node: Candidate }
  | { readonly kind: "none" }
  /** Several nodes have this name, or no target was named where there are several. */
  | { readonly kind: "several"; readonly nodes: readonly Candidate[] }
  | { readonly kind: "offline"; readonly nodes: readonly Candidate[] };

/**
 * `candidates` are the nodes that fit the target by tag, id or name. One that is not ready, since it does
 * not know the CA of now, is offline to callers.
 */
export function resolve(
  target: Target,
  candidates: readonly Candidate[],
  now: number,
  isReady: (node: Candidate) => boolean,
): Resolution {
  const nodes = meant(target, candidates);
  if (nodes.length === 0) return { kind: "none" };
  if (nodes.length > 1 && target.kind !== "tag") return { kind: "several", nodes: sorted(nodes) };
  let first: Candidate | undefined;
  for (const node of nodes) {
    if (first && byName(first, node) < 0) continue;
    if (isOnline(node.lastSeenAt, now) && isReady(node)) first = node;
  }
  return first ? { kind: "found", node: first } : { kind: "offline", nodes: sorted(nodes) };
}

const sorted = (nodes: readonly Candidate[]) => nodes.toSorted(byName);
const byName = (a: Candidate, b: Candidate): number =>
  compare(a.name, b.name) || compare(a.id, b.id);
const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0;

/** An id is one node's, even where another was given it as its name. */
export function meant(target: Target, candidates: readonly Candidate[]): readonly Candidate[] {
  if (target.kind !== "node") return candidates;
  const byId = candidates.filter(({ id }) => id === target.node);
  return byId.length > 0 ? byId : candidates;
}

/** What the account has, to be named in a refusal. */
export interface Inventory {
  readonly tags: readonly string[];
  readonly nodes: readonly { readonly id: string; readonly name: string }[];
}

/** Why there is no node to go to, with what there is instead; undefined: the caller may not know that. */
export function refusal(
  target: Target,
  resolution: Exclude<Resolution, { kind: "found" }>,
  inventory: Inventory | undefined,
  now: number,
): OpenboxError {
  switch (resolution.kind) {
    case "none":
      return new OpenboxError("node_not_found", nothing(target), {
        hint: inventory === undefined
          ? "what there is, this token may not read"
          : inventory.nodes.length === 0
          ? "no node is enrolled yet: openbox node token prints the command that does it"
          : target.kind === "tag"
          ? inventory.tags.length === 0 ? "no node has a tag" : `tags: ${list(inventory.tags)}`
          : `nodes: ${list(inventory.nodes.map(({ name }) => name))}`,
      });
    case "several": {
      const nodes = list(resolution.nodes.map(({ id, name }) => `${name} (${id})`));
      return target.kind === "node"
        ? new OpenboxError(
          "ambiguous",
          `${resolution.nodes.length} nodes have the name ${JSON.stringify(target.node)}`,
          { hint: `name one by its id: ${list(resolution.nodes.map(({ id }) => id))}` },
        )
        : new OpenboxError(
          "target_required",
          "There is more than one node: say which by -t TAG or -n NODE",
          { hint: `nodes: ${nodes}` },
        );
    }
    case "offline": {
      const nodes = list(resolution.nodes.map((node) => `${node.name} (${since(node, now)})`));
      return new OpenboxError(
        "node_offline",
        resolution.nodes.length === 1
          ? `The node is offline: ${nodes}`
          : `All ${resolution.nodes.length} nodes with the tag are offline: ${nodes}`,
        {
          hint: resolution.nodes.some((node) => isOnline(node.lastSeenAt, now))
            ? "its next heartbeat tells it of the CA's rotation, within half a minute"
            : "start its agent again: openbox agent",
        },
      );
    }
  }
}

/** Scripts match the one for a tag (docs/protocol.md). */
function nothing(target: Target): string {
  switch (target.kind) {
    case "tag":
      return `no node matches tag ${JSON.stringify(target.tag)}`;
    case "node":
      return `no node matches ${JSON.stringify(target.node)}`;
    case "any":
      return "no node is enrolled";
  }
}

function since({ lastSeenAt }: Candidate, now: number): string {
  if (lastSeenAt === 0) return "never heard from";
  if (isOnline(lastSeenAt, now)) return "it has yet to follow the CA's rotation";
  const at = new Date(lastSeenAt).toISOString().replace(/\.\d+Z$/, "Z");
  return `since ${at}, ${duration(Math.max(0, now - lastSeenAt))} ago`;
}

function duration(ms: number): string {
  const minutes = Math.floor(ms / 60_000), hours = Math.floor(minutes / 60);
  if (minutes < 120) return minutes < 2 ? `${Math.floor(ms / 1000)} s` : `${minutes} min`;
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

const MAX_LISTED = 20;
const list = (names: readonly string[]): string =>
  names.slice(0, MAX_LISTED).join(", ") +
  (names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : "");
