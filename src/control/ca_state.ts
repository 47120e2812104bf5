/**
 * Where the CA stands: which keys are trusted and which one signs, by the steps on record. Pure. The steps
 * decide and not the key file, which may hold a key more after a crash.
 */
import { equalBytes } from "../bytes.ts";
import { caFingerprint, type CaPublicKeys } from "../ca/keys.ts";
import {
  CA_KINDS,
  type CaChange,
  type CaKind,
  type CaTrust,
  currentPair,
  includesKey,
  keysFingerprint,
  readCaStatement,
} from "../ca/trust.ts";
import { OpenboxError } from "../errors.ts";
import type { PublicKey } from "../ssh/key.ts";
import type { CaKnown, CaStep } from "../store/store.ts";

/** `init`: the next key is announced, nothing is signed with it. `update`: it signs for whoever knows it. */
export type CaPhase = "standby" | "init" | "update";

export interface KindState {
  readonly phase: CaPhase;
  /** Those that are trusted: the one of now, then the next one. */
  readonly keys: readonly PublicKey[];
  /** Numbers of the newest step, and of the newest one with a statement. */
  readonly seq: number;
  readonly trustSeq: number;
  /** Epoch milliseconds; undefined before the first step. */
  readonly changedAt: number | undefined;
  /** By fingerprint, every set of keys that a node may say it trusts. */
  readonly sets: ReadonlyMap<string, readonly PublicKey[]>;
  /** What nodes trust that never said it: they are older than the first rotation. Undefined: no rotation led to these keys. */
  readonly original: readonly PublicKey[] | undefined;
}

export type CaState = Readonly<Record<CaKind, KindState>>;

type PublicRing = Readonly<Record<CaKind, readonly PublicKey[]>>;

/**
 * `held` are the public halves of the keys that this control plane has, which `source` names in errors.
 * Throws `bad_file` where the keys are older than the database: they may be the ones that somebody stole.
 */
export function readCaState(
  steps: readonly CaStep[],
  held: PublicRing,
  source: string,
): CaState {
  const read = (kind: CaKind) =>
    readKind(kind, steps.filter((step) => step.kind === kind), held[kind], source);
  return { host: read("host"), user: read("user") };
}

function readKind(
  kind: CaKind,
  steps: readonly CaStep[],
  held: readonly PublicKey[],
  source: string,
): KindState {
  const changes = steps.flatMap(({ statement }) =>
    statement === undefined ? [] : readCaStatement(statement)?.change ?? []
  );
  const last = steps.at(-1), change = changes.at(-1), own = held[0]!;
  const known = changes.flatMap(({ from, to }) => [...from, ...to]);
  const numbers = { seq: last?.seq ?? 0, changedAt: last?.at };
  const sets = new Map<string, readonly PublicKey[]>();
  for (const keys of [[own], ...changes.flatMap(({ from, to }) => [from, to])]) {
    sets.set(keysFingerprint(keys), keys);
  }
  // never rotated, or put in its place by hand: then everybody has to be told by hand as well
  if (!change || !last || !includesKey(known, own)) {
    const trustSeq = change?.seq ?? 0;
    return { phase: "standby", keys: [own], ...numbers, trustSeq, sets, original: undefined };
  }
  requireHeld(kind, change, held, source);
  return {
    phase: last.step === "init" || last.step === "update" ? last.step : "standby",
    keys: change.to,
    ...numbers,
    trustSeq: change.seq,
    sets,
    original: changes[0]!.from,
  };
}

function requireHeld(
  kind: CaKind,
  { to }: CaChange,
  held: readonly PublicKey[],
  source: string,
): void {
  const missing = to.find((key) => !includesKey(held, key));
  if (!missing) return;
  throw new OpenboxError(
    "bad_file",
    `The CA key in ${source} is older than the database: the ${kind} CA was rotated to ${
      keysFingerprint([missing])
    }`,
    { hint: "restore the CA key from a backup that was made after the rotation" },
  );
}

export const trustOf = (state: CaState): CaTrust => ({
  host: { keys: state.host.keys, seq: state.host.trustSeq },
  user: { keys: state.user.keys, seq: state.user.trustSeq },
});

/** The host CA key that signs now. */
export const hostSigningKey = ({ host: { phase, keys } }: CaState): PublicKey =>
  phase === "update" ? keys[1]! : keys[0]!;

/** The newest user CA key that this node takes; undefined where it has to be heard from first. */
export function userSigningKey(
  { user }: CaState,
  { caAcknowledged }: CaKnown,
): PublicKey | undefined {
  const { phase, keys, original, sets } = user;
  if (!original) return keys[0];
  const trusted = caAcknowledged === undefined ? original : sets.get(caAcknowledged) ?? [];
  const wanted = phase === "update" ? keys.toReversed() : keys.slice(0, 1);
  return wanted.find((key) => includesKey(trusted, key));
}

/** The host CA key that signed the certificate which the node holds; undefined where callers believe it no more. */
function certAuthority({ host }: CaState, { certHeld }: CaKnown): PublicKey | undefined {
  const { keys, original } = host;
  if (!original) return keys[0];
  const held = certHeld ?? keysFingerprint(original.slice(0, 1));
  return keys.find((key) => keysFingerprint([key]) === held);
}

/** Whether a certificate for this node can be issued, and used. */
export const isCaughtUp = (state: CaState, node: CaKnown): boolean =>
  userSigningKey(state, node) !== undefined && certAuthority(state, node) !== undefined;

/** For callers that take one host CA key a call and follow nothing: stock ssh, the Go program. */
export const nodeAuthority = (state: CaState, node: CaKnown): PublicKey =>
  certAuthority(state, node) ?? state.host.keys[0]!;

/**
 * Whether the node is done with what this phase waits for: that it knows the next key, or after the last
 * step that it trusts no former one.
 */
export function hasFollowed(kind: CaKind, state: CaState, node: CaKnown): boolean {
  const { phase, keys, sets, original } = state[kind];
  const next = keys[1];
  if (!original) return true;
  if (phase === "standby" || !next) {
    return kind === "host"
      ? certAuthority(state, node) !== undefined
      : node.caAcknowledged === keysFingerprint(keys);
  }
  if (kind === "user") {
    return includesKey(sets.get(node.caAcknowledged ?? "") ?? [], next);
  }
  // in the first phase it is the callers who learn of the next key, with each dispatch
  return phase === "init" || node.certHeld === keysFingerprint([next]);
}

/**
 * The pair that a fingerprint names, of now or of former times: enrollment tokens outlive a rotation.
 */
export function pairOf(fingerprint: string, state: CaState): CaPublicKeys | undefined {
  const current = currentPair(trustOf(state));
  if (caFingerprint(current) === fingerprint) return current;
  const [hosts, users] = CA_KINDS.map((kind) => everTrusted(state[kind]));
  for (const host of hosts!) {
    for (const user of users!) {
      if (caFingerprint({ host, user }) === fingerprint) return { host, user };
    }
  }
  return undefined;
}

function everTrusted({ sets }: KindState): readonly PublicKey[] {
  const keys: PublicKey[] = [];
  for (const key of [...sets.values()].flat()) {
    if (!keys.some(({ blob }) => equalBytes(blob, key.blob))) keys.push(key);
  }
  return keys;
}
