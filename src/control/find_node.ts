import type { Candidate, Target } from "../store/store.ts";
import { refusal, resolve } from "./resolve.ts";
import type { Control } from "./route.ts";

/** The node that a target means, by what the store knows now. Throws with what there is instead. */
export async function findNode(
  accountId: string,
  target: Target,
  { store, clock }: Pick<Control, "store" | "clock">,
): Promise<Candidate> {
  const now = clock.now();
  const resolution = resolve(target, await store.candidates(accountId, target), now);
  if (resolution.kind === "found") return resolution.node;
  const [tags, nodes] = await Promise.all([store.tags(accountId), store.nodes(accountId, {})]);
  throw refusal(target, resolution, { tags, nodes }, now);
}
