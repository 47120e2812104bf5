/** One step of a rotation: what it does to trust, and to the keys that are held. Pure but for new keys. */
import type { CaKeyRing } from "../ca/keys.ts";
import { CA_KINDS, type CaKind, signCaChange } from "../ca/trust.ts";
import { equalBytes } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { generateKey, type PrivateKey, type PublicKey } from "../ssh/key.ts";
import type { CaNode, CaStep } from "../store/store.ts";
import { type CaPhase, type CaState, hasFollowed, type KindState } from "./ca_state.ts";
import { isOnline } from "./resolve.ts";

export type CaStepName = CaStep["step"];

/** What a step changes. Until it is on record `during` is held, with the keys of before and after it. */
export interface CaPlan {
  readonly kinds: readonly CaKind[];
  readonly steps: readonly CaStep[];
  readonly during: CaKeyRing;
  readonly after: CaKeyRing;
}

/** Where each step begins. */
const BEGINS: Readonly<Record<CaStepName, readonly CaPhase[]>> = {
  init: ["standby"],
  update: ["init"],
  finish: ["update"],
  rollback: ["init", "update"],
  emergency: ["standby", "init", "update"],
};

/** Throws `conflict` where it is not the turn of this step. */
export function planCaStep(
  step: CaStepName,
  asked: readonly CaKind[] | undefined,
  state: CaState,
  ring: CaKeyRing,
  now: number,
): CaPlan {
  const fits = (kind: CaKind) => BEGINS[step].includes(state[kind].phase);
  const kinds = asked ?? CA_KINDS.filter(fits);
  const wrong = kinds.length === 0 ? CA_KINDS[0] : kinds.find((kind) => !fits(kind));
  if (wrong) throw notNow(step, wrong, state[wrong].phase);
  const during = { ...ring }, after = { ...ring }, steps: CaStep[] = [];
  for (const kind of kinds) {
    const plan = planKind(step, kind, state[kind], ring[kind], now);
    steps.push(plan.step);
    [during[kind], after[kind]] = [plan.during, plan.after];
  }
  return { kinds, steps, during, after };
}

function planKind(
  name: CaStepName,
  kind: CaKind,
  state: KindState,
  ring: readonly PrivateKey[],
  at: number,
) {
  const held = state.keys.map((key) => privateHalf(key, ring));
  const seq = state.seq + 1;
  const to = (after: readonly PrivateKey[], signer: PrivateKey) => {
    const change = { kind, seq, from: state.keys, to: after, at };
    const during = [...held, ...after.filter((key) => !held.includes(key))];
    const statement = signCaChange(change, signer);
    return { step: { kind, seq, step: name, statement, at }, during, after };
  };
  const [current, next] = held as [PrivateKey, PrivateKey];
  switch (name) {
    case "init":
      return to([current, generateKey()], current);
    case "update":
      return {
        step: { kind, seq, step: name, statement: undefined, at },
        during: held,
        after: held,
      };
    case "finish":
      return to([next], next);
    case "rollback":
      return to([current], current);
    case "emergency":
      return to([generateKey()], current);
  }
}

const privateHalf = (key: PublicKey, ring: readonly PrivateKey[]): PrivateKey =>
  ring.find(({ blob }) => equalBytes(blob, key.blob))!; // readCaState refuses a ring without it

const notNow = (step: CaStepName, kind: CaKind, phase: CaPhase) =>
  new OpenboxError(
    "conflict",
    phase === "standby"
      ? `The ${kind} CA is not being rotated, so there is no "${step}"`
      : `The ${kind} CA is in the phase "${phase}" of a rotation; "${step}" is not its next step`,
    { hint: "openbox ca status; the steps are init, update, finish, and rollback before finish" },
  );

/** Nodes that this step would cut off until they are heard from: they are here, and have not followed. */
export function behind(
  step: CaStepName,
  kinds: readonly CaKind[],
  state: CaState,
  nodes: readonly CaNode[],
  now: number,
): readonly CaNode[] {
  // a rollback goes back to what everybody trusts, and an emergency cuts off on purpose
  if (step !== "update" && step !== "finish") return [];
  return nodes.filter((node) =>
    isOnline(node.lastSeenAt, now) && kinds.some((kind) => !hasFollowed(kind, state, node))
  );
}

const MOST_NAMED = 10;

export function waitFor(step: CaStepName, nodes: readonly CaNode[]): OpenboxError {
  const names = nodes.slice(0, MOST_NAMED).map(({ name, id }) => `${name} (${id})`).join(", ");
  const more = nodes.length > MOST_NAMED ? ` and ${nodes.length - MOST_NAMED} more` : "";
  return new OpenboxError(
    "conflict",
    `${nodes.length} ${
      nodes.length === 1 ? "node has" : "nodes have"
    } not followed yet: ${names}${more}`,
    {
      hint:
        `a node follows with its next heartbeat, within half a minute; --force does the step now (${step}) and cuts them off until then`,
    },
  );
}
