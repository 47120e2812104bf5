/**
 * The node that a target means, of those on which the caller may run. What somebody may not use does not
 * stand in the way of what he may; where he may use none of them, it is said that they are not for him.
 */
import { decide, namedLimits, type Rights, type RunAsk } from "../access/decide.ts";
import { reachOf } from "../access/reach.ts";
import type { OpenboxError } from "../errors.ts";
import type { Candidate, Session, Target, TokenUser } from "../store/store.ts";
import type { Judged } from "./allow.ts";
import { meant, refusal, type Resolution, resolve } from "./resolve.ts";
import type { Control } from "./route.ts";

/** What is to run there, apart from where. */
export type RunWish = Omit<RunAsk, "verb" | "node">;

export type Found =
  | { readonly kind: "node"; readonly node: Candidate; readonly judged: Judged }
  /** No node fits the target, or none of those that do is there. */
  | { readonly kind: "nowhere"; readonly resolution: Exclude<Resolution, { kind: "found" }> };

/** Whose rights, in which account. */
export interface Runner extends Rights {
  readonly accountId: string;
}

/** What a look for a node needs. */
export interface NodeFinder extends Pick<Control, "store" | "clock"> {
  /** One that is not counts as offline, whatever was heard of it. */
  isReady(node: Candidate): boolean;
}

/** How a wish is judged on each node. */
export async function judge(
  runner: Runner,
  control: Pick<Control, "store">,
): Promise<(node: NamedNode, wish: RunWish) => Judged> {
  const tagged = await tagging(runner, control);
  return (node, wish) => judgeOn(tagged(node), wish, runner);
}

function judgeOn(node: RunAsk["node"], wish: RunWish, runner: Runner): Judged {
  const ask: RunAsk = { verb: "run", node, ...wish };
  return { ask, decision: decide(runner, ask) };
}

type NamedNode = Pick<Candidate, "id" | "name">;

/** Nodes with those of their tags that make a difference. */
async function tagging(
  runner: Runner,
  { store }: Pick<Control, "store">,
): Promise<(node: NamedNode) => RunAsk["node"]> {
  const tagged = await store.tagged(runner.accountId, namedLimits(runner, "run", "tag"));
  return ({ id, name }) => ({ id, name, tags: tagged.get(id) ?? [] });
}

export async function findNode(
  runner: Runner,
  target: Target,
  wish: RunWish,
  control: NodeFinder,
): Promise<Found> {
  const { store, clock, isReady } = control;
  const candidates = meant(target, await store.candidates(runner.accountId, target));
  const tagged = await tagging(runner, control), reach = reachOf(runner);
  const judged = (node: Candidate) => judgeOn(tagged(node), wish, runner);
  const known = new Map<string, boolean>();
  const open = candidates.filter((node) => {
    const kind = reach(tagged(node)), before = known.get(kind);
    if (before !== undefined) return before;
    const { allowed } = judged(node).decision;
    known.set(kind, allowed);
    return allowed;
  });
  const refused = candidates.length > 0 && open.length === 0;
  const resolution = resolve(target, refused ? candidates : open, clock.now(), isReady);
  if (resolution.kind === "found") {
    return { kind: "node", node: resolution.node, judged: judged(resolution.node) };
  }
  // of several that are all not for the caller the first says why
  return refused
    ? { kind: "node", node: candidates[0]!, judged: judged(candidates[0]!) }
    : { kind: "nowhere", resolution };
}

/** Whether a session of the caller's is his to use, as whichever login. */
export async function judgeSessions(
  user: TokenUser,
  control: Pick<Control, "store">,
): Promise<(session: Session) => Judged> {
  const judgeOn = await judge(user, control);
  const logins = [undefined, ...namedLimits(user, "run", "login")];
  return ({ nodeId: id, nodeName: name, isolation }) => {
    const judged = logins.map((login) =>
      judgeOn({ id, name }, { isolation, login, session: true })
    );
    return judged.find(({ decision }) => decision.allowed) ?? judged[0]!;
  };
}

/** Why there is no node to go to; what there is instead is told to who may read it. */
export async function noNode(
  runner: Runner,
  target: Target,
  resolution: Exclude<Resolution, { kind: "found" }>,
  { store, clock }: Pick<Control, "store" | "clock">,
): Promise<OpenboxError> {
  const { accountId } = runner;
  const inventory = decide(runner, { verb: "read" }).allowed
    ? { tags: await store.tags(accountId), nodes: await store.nodes(accountId, {}) }
    : undefined;
  return refusal(target, resolution, inventory, clock.now());
}
