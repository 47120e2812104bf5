import type { Candidate, Target } from "../store/store.ts";
import { refusal, resolve } from "./resolve.ts";
import type { Control } from "./route.ts";

/** What a look for a node needs. */
export interface NodeFinder extends Pick<Control, "store" | "clock"> {
  /** One that is not counts as offline, whatever was heard of it. */
  isReady(node: Candidate): boolean;
}

/** The node that a target means, by what the store knows now. Throws with what there is instead. */
export async function findNode(
  accountId: string,
  target: Target,
  { store, clock, isReady }: NodeFinder,
): Promise<Candidate> {
  const now = clock.now();
  const resolution = resolve(target, await store.candidates(accountId, target), now, isReady);
  if (resolution.kind === "found") return resolution.node;
  const [tags, nodes] = await Promise.all([store.tags(accountId), store.nodes(accountId, {})]);
  throw refusal(target, resolution, { tags, nodes }, now);
}
