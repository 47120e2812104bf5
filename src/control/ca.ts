/**
 * The control plane's CA: its keys, sealed or open, and what they are good for by now. What the database
 * says is asked for each request, so that several control planes on one database agree.
 */
import { type CertAuthority, createCertAuthority } from "../ca/authority.ts";
import {
  caFingerprint,
  type CaKeyRing,
  type CaPublicKeys,
  formatCaRing,
  generateCaKeys,
  parseCaRing,
  ringOf,
} from "../ca/keys.ts";
import {
  isSealed,
  isSealedWith,
  newSealKey,
  openSeal,
  openSealedCa,
  parseSealedCa,
  sealCa,
  type SealKey,
  sealRing,
} from "../ca/seal.ts";
import { CA_KINDS, type CaKind, currentPair, includesKey } from "../ca/trust.ts";
import { equalBytes } from "../bytes.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import { Secret } from "../secret.ts";
import type { PublicKey } from "../ssh/key.ts";
import type { AuditEntry } from "../store/audit.ts";
import type { CaText, Store } from "../store/store.ts";
import { bySystem } from "./bootstrap.ts";
import { type CaKeeper, openCaKeeper } from "./ca_keeper.ts";
import { createRateLimit, TooMany } from "./rate_limit.ts";
import { type CaState, hostSigningKey, readCaState, trustOf } from "./ca_state.ts";
import { behind, type CaStepName, planCaStep, waitFor } from "./ca_steps.ts";
import type { ControlSettings } from "./settings.ts";

/** The CA as it stood when it was asked for. */
export interface CaNow {
  readonly state: CaState;
  /** The keys of now: what is named, and what a login pins. */
  readonly pair: CaPublicKeys;
  readonly fingerprint: string;
  /** Every statement there is, for whoever pinned an older pair. */
  readonly statements: readonly string[];
  /** The keys are under a passphrase where they lie. */
  readonly sealed: boolean;
  /** And nobody has told it yet: nothing can be signed. */
  readonly locked: boolean;
  /** Signs with the host CA key of now and this user CA key. Throws `ca_locked`. */
  authority(user?: PublicKey): CertAuthority;
}

export interface CaStepRequest {
  readonly step: CaStepName;
  /** Undefined: those whose turn it is. */
  readonly kinds: readonly CaKind[] | undefined;
  /** Also where that cuts off nodes which are here. */
  readonly force: boolean;
}

export interface ControlCa {
  now(): Promise<CaNow>;
  /** From now on the keys lie under this passphrase. */
  seal(passphrase: Secret, audit: AuditEntry): Promise<void>;
  /** Throws `wrong_passphrase`. Nothing happens where it is open. */
  unseal(passphrase: Secret, audit: AuditEntry): Promise<void>;
  /**
   * The keys as they may lie in a backup, which is sealed: as they are, or under this passphrase. Undefined
   * where they lie in the database. Throws `usage` where it takes a passphrase and there is none.
   */
  backup(passphrase: Secret | undefined): Promise<string | undefined>;
  /** Throws `conflict` where it is not the step's turn, or nodes would be cut off. */
  rotate(request: CaStepRequest, audit: AuditEntry): Promise<void>;
}

export interface ControlCaDeps {
  readonly store: Store;
  readonly clock: Clock;
  nextSerial(): Promise<bigint>;
  readonly passphrase: Secret | undefined;
  /** Other control planes are on this database, each with its own copy of a key file. */
  readonly shared: boolean;
  /** Nobody has been told of a CA yet. Later one that is missing is refused: another would hide the loss. */
  readonly firstStart: boolean;
}

/** The keys, or only their public halves. */
interface Held {
  readonly kept: CaText;
  readonly sealed: boolean;
  readonly ring: CaKeyRing | undefined;
  readonly publicKeys: Readonly<Record<CaKind, readonly PublicKey[]>>;
}

/** Each try costs 128 MiB and half a second. */
const TRIES = { perSecond: 1 / 10, burst: 5 };

export async function openControlCa(
  source: ControlSettings["ca"],
  deps: ControlCaDeps,
): Promise<ControlCa> {
  const { store, clock, nextSerial } = deps;
  const keeper = openCaKeeper(source, deps);
  const tries = createRateLimit(TRIES, clock);
  let sealKey: SealKey | undefined;
  let loaded: { readonly version: string; readonly held: Held; readonly now: CaNow } | undefined;
  let loading: Promise<void> | undefined;

  async function read() {
    const kept = await keeper.read();
    if (!kept) throw keeper.missing();
    const held = readHeld(kept, keeper.source, sealKey);
    const steps = await store.caSteps();
    const state = readCaState(steps, held.publicKeys, keeper.source);
    const statements = steps.flatMap(({ statement }) => statement ?? []);
    return { held, now: describe(state, held, statements, nextSerial) };
  }
  async function load(): Promise<void> {
    // before what it stands for: what changes meanwhile is seen with the next look
    const version = await store.caVersion();
    try {
      loaded = { version, ...await read() };
    } catch (error) {
      // keys and steps from two sides of a change do not fit; the next look finds both behind it
      if (await store.caVersion() === version) throw error;
    }
  }
  /** Each look asks for itself whether there is news; of those that come together one reads it. */
  async function current() {
    for (;;) {
      const version = await store.caVersion();
      if (loaded?.version === version) return loaded;
      await (loading ??= load().finally(() => loading = undefined));
    }
  }
  const reload = async () => {
    await loading?.catch(() => {});
    loaded = undefined;
    return await current();
  };

  let queue: Promise<unknown> = Promise.resolve();
  /** Changes come one after the other. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = queue.then(work, work);
    queue = turn.catch(() => {});
    return turn;
  };

  /** A step that was cut off may have left a key that nobody was told of, or that is over. */
  async function tidy(): Promise<void> {
    const { held: { kept, ring }, now: { state } } = await current();
    if (!ring || keeper.shared || keeper.fixed) return;
    const wanted = ringOfState(ring, state);
    if (CA_KINDS.every((kind) => sameOrder(ring[kind], wanted[kind]))) return;
    await keeper.replace(
      kept,
      textOf(wanted),
      bySystem("ca.rotate", clock.now(), { step: "tidy" }),
    );
    await reload();
  }

  const textOf = (ring: CaKeyRing): string =>
    sealKey ? sealRing(ring, sealKey) : formatCaRing(ring).reveal();

  async function open(passphrase: Secret, record?: () => Promise<void>): Promise<void> {
    const kept = await keeper.read();
    if (!kept || !isSealed(kept.text)) return;
    const opened = await openSealedCa(kept.text, passphrase, keeper.source);
    await record?.();
    sealKey = opened.sealKey;
    await reload();
    await tidy();
  }

  if (!await keeper.read()) await create(keeper, deps);
  if (deps.passphrase) await open(deps.passphrase);
  await tidy();

  return {
    now: async () => {
      try {
        return (await current()).now;
      } catch (error) {
        throw asOwnFault(error);
      }
    },

    seal: (passphrase, audit) =>
      inTurn(async () => {
        const { held: { kept, ring } } = await reload();
        if (!ring) throw caLocked();
        const key = await newSealKey(passphrase);
        await keeper.replace(kept, sealRing(ring, key), audit);
        sealKey = key;
        await reload();
        log("control").info("the CA is sealed");
      }),

    unseal: (passphrase, audit) =>
      inTurn(async () => {
        if (!(await current()).now.locked) return;
        const wait = tries.take("");
        if (wait > 0) throw new TooMany("Too many tries to unseal the CA", wait);
        await open(passphrase, () => store.recordAudit([audit]));
        log("control").info("the CA is open");
      }),

    async backup(passphrase) {
      const { held: { kept, sealed, ring } } = await current();
      if (keeper.shared) return undefined;
      if (sealed) return kept.text;
      if (!ring) throw caLocked();
      if (passphrase) return await sealCa(ring, passphrase);
      throw new OpenboxError("usage", "The CA's keys go into a backup under a passphrase only", {
        hint: "openbox backup FILE asks for one; --without-ca leaves them out",
      });
    },

    rotate: ({ step, kinds, force }, audit) =>
      inTurn(async () => {
        const { held: { kept, ring }, now: { state } } = await reload();
        if (!ring) throw caLocked();
        const at = clock.now();
        const plan = planCaStep(step, kinds, state, ring, at);
        const late = behind(step, plan.kinds, state, await store.caNodes(), at);
        if (late.length > 0 && !force) throw waitFor(step, late);
        const texts = { during: textOf(plan.during), after: textOf(plan.after) };
        const detail = { step, kinds: plan.kinds.join(","), cut_off: late.length };
        await keeper.step(kept, texts, plan.steps, { ...audit, detail });
        await reload();
        log("control").info("CA rotation: {step} of {kinds}", detail);
      }),
  };
}

/** Of several starts at once one makes the keys, and all have them. */
async function create(keeper: CaKeeper, deps: ControlCaDeps): Promise<void> {
  const { passphrase, firstStart, clock } = deps;
  if (!keeper.mayCreate || !firstStart) throw keeper.missing();
  if (keeper.shared && !passphrase) {
    throw new OpenboxError(
      "bad_setting",
      "The CA is to be kept in the database, and nothing says under which passphrase",
      {
        hint:
          "OPENBOX_CA_PASSPHRASE or --ca-passphrase-file FILE; or the keys themselves by OPENBOX_CA_KEY or --ca FILE",
      },
    );
  }
  const ring = ringOf(generateCaKeys());
  const text = passphrase
    ? sealRing(ring, await newSealKey(passphrase))
    : formatCaRing(ring).reveal();
  await keeper.create(
    text,
    bySystem("ca.create", clock.now(), { sealed: passphrase !== undefined }),
  );
}

function readHeld(kept: CaText, source: string, sealKey: SealKey | undefined): Held {
  if (!isSealed(kept.text)) {
    const ring = parseCaRing(new Secret(kept.text), source);
    return { kept, sealed: false, ring, publicKeys: ring };
  }
  const sealed = parseSealedCa(kept.text, source);
  const ring = sealKey && isSealedWith(sealed, sealKey) ? openSeal(sealed, sealKey) : undefined;
  return { kept, sealed: true, ring, publicKeys: ring ?? sealed.publicKeys };
}

function describe(
  state: CaState,
  { sealed, ring }: Held,
  statements: readonly string[],
  nextSerial: () => Promise<bigint>,
): CaNow {
  const pair = currentPair(trustOf(state));
  return {
    state,
    pair,
    fingerprint: caFingerprint(pair),
    statements,
    sealed,
    locked: ring === undefined,
    authority(user = pair.user) {
      if (!ring) throw caLocked();
      const find = (kind: CaKind, key: PublicKey) =>
        ring[kind].find(({ blob }) => equalBytes(blob, key.blob))!;
      const keys = { host: find("host", hostSigningKey(state)), user: find("user", user) };
      return createCertAuthority({ keys, nextSerial });
    },
  };
}

/** The keys that are trusted, in their order. */
const ringOfState = (ring: CaKeyRing, state: CaState): CaKeyRing => {
  const trusted = (kind: CaKind) =>
    state[kind].keys.map((key) => ring[kind].find(({ blob }) => equalBytes(blob, key.blob))!);
  return { host: trusted("host"), user: trusted("user") };
};

const sameOrder = (a: readonly PublicKey[], b: readonly PublicKey[]): boolean =>
  a.length === b.length && a.every((key, i) => includesKey([b[i]!], key));

/** A file that cannot be read any more is the operator's to hear of, in the log, and no caller's. */
function asOwnFault(error: unknown): unknown {
  const { code } = toOpenboxError(error);
  if (code !== "bad_file" && code !== "unsafe_file") return error;
  return new OpenboxError("internal", "The CA key cannot be read", { cause: error });
}

export const caLocked = () =>
  new OpenboxError("ca_locked", "The CA is sealed: certificates are issued once it is unsealed", {
    hint: "openbox ca unseal",
  });
