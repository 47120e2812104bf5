/**
 * Warm connections for one login. What a certificate binds is the key: where the command was asked to
 * run, kept apart how, in which session, as whom. A certificate is asked for once a key; until it ends,
 * commands need no control plane.
 */
import { abortable, type AbortOptions, deadline } from "../abort.ts";
import {
  beginRunChannel,
  type ExecDeps,
  openRunChannel,
  type RemoteRun,
  remoteRun,
} from "../client/exec.ts";
import { reachNode, refusal } from "../client/node_connection.ts";
import { place, type Placement } from "../client/placement.ts";
import { encodeRequest, type RunCommand } from "../client/run_command.ts";
import type { Target } from "../client/target.ts";
import { OpenboxError } from "../errors.ts";
import { formatIsolation } from "../isolation/spec.ts";
import type { SshConnection } from "../ssh/client.ts";
import type { PreparedChannel } from "../ssh/client_channel.ts";

/** Fewer than the channels that an agent allows a connection. */
const MOST_RUNS = 60;
/**
 * A channel that was opened ahead is used while the node was heard so recently: a request on it leaves
 * before anything says that the node is still there, and where it is not the run is lost.
 */
const LIVELY_MS = 2000;
/** What a connection that is there may take to open a channel: after it, it counts as gone. */
const WARM_MS = 3000;
/** From which part of a certificate's life on it is renewed when it is used. */
const RENEW_AT = 2 / 3;
/** A certificate is not begun to be used so shortly before its end. */
const SPARE_MS = 2000;
const SWEEP_MS = 15_000;

export interface PoolOptions {
  readonly livelyMs?: number;
}
type Deps = ExecDeps & Required<PoolOptions>;

export class Pool implements AsyncDisposable {
  readonly #deps: Deps;
  readonly #entries = new Map<string, Entry>();
  readonly #ending = new AbortController();
  readonly #sweep: ReturnType<typeof setInterval>;
  #retired = false;

  constructor(deps: ExecDeps, { livelyMs = LIVELY_MS }: PoolOptions = {}) {
    this.#deps = { ...deps, livelyMs };
    this.#sweep = setInterval(() => this.#dropEnded(), SWEEP_MS);
  }

  /**
   * Asks a node for a run. Throws only while nothing has started. A node that is gone, or refuses what it
   * was shown before, is placed anew, once.
   */
  async open(
    target: Target,
    command: RunCommand & { readonly runId: string },
    { signal }: Required<AbortOptions>,
  ): Promise<RemoteRun> {
    const request = encodeRequest(command.runId, command), key = keyOf(target);
    for (let first = true;; first = false) {
      const known = this.#usable(key), wasPlaced = known?.isPlaced ?? false;
      const entry = known ?? this.#place(key, target);
      try {
        return await entry.open(request, command.runId, { signal });
      } catch (error) {
        if (signal.aborted) throw error; // says nothing of the node
        if (this.#entries.get(key) === entry) this.#entries.delete(key);
        entry.retire();
        if (!wasPlaced || !first || this.#ending.signal.aborted) throw error;
      }
    }
  }

  /** What is warm now, for a person to look at. */
  get connections() {
    return [...this.#entries.values()].flatMap((entry) => entry.connections);
  }

  /** Forgets where a session was, so that the next command asks. */
  forget(session: string): void {
    for (const [key, entry] of this.#entries) {
      if (entry.target.session !== session) continue;
      this.#entries.delete(key);
      entry.retire();
    }
  }

  /** Takes no more runs; each connection closes with its last one. */
  retire(): void {
    this.#retired = true;
    for (const entry of this.#entries.values()) entry.retire();
    this.#entries.clear();
    clearInterval(this.#sweep);
  }

  /** Closes everything: nodes end what still runs. */
  [Symbol.asyncDispose](): Promise<void> {
    this.retire();
    this.#ending.abort(new OpenboxError("cancelled", "openbox's daemon ends"));
    return Promise.resolve();
  }

  #usable(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    if (entry.hasEnded) {
      this.#entries.delete(key);
      entry.retire();
      return undefined;
    }
    if (entry.isOld) this.#renew(key, entry);
    return entry;
  }

  #place(key: string, target: Target): Entry {
    const entry = new Entry(target, this.#deps, this.#ending.signal);
    if (!this.#retired) this.#entries.set(key, entry);
    return entry;
  }

  /** In the background; where it fails, the old one serves to its end. */
  #renew(key: string, old: Entry): void {
    if (old.isRenewing) return;
    old.isRenewing = true;
    const entry = new Entry(old.target, this.#deps, this.#ending.signal);
    entry.ready().then(() => {
      if (this.#entries.get(key) !== old) return entry.retire();
      this.#entries.set(key, entry);
      old.retire();
    }, () => {
      old.isRenewing = false;
      entry.retire();
    });
  }

  #dropEnded(): void {
    for (const [key, entry] of this.#entries) {
      if (!entry.hasEnded) continue;
      this.#entries.delete(key);
      entry.retire();
    }
  }
}

const keyOf = ({ tag, node, session, isolation, login }: Target): string =>
  JSON.stringify([tag, node, session, isolation && formatIsolation(isolation), login]);

/** One certificate, and the connections that it opened. */
class Entry {
  readonly target: Target;
  readonly #deps: Deps;
  readonly #ending: AbortSignal;
  readonly #placing: Promise<Placement>;
  readonly #warm = new Set<Warm>();
  #placement: Placement | undefined;
  #placedAt = 0;
  #isFirst = true;
  #retired = false;
  isRenewing = false;

  constructor(target: Target, deps: Deps, ending: AbortSignal) {
    this.target = target;
    this.#deps = deps;
    this.#ending = ending;
    this.#placing = this.#place();
    this.#placing.catch(() => {}); // whoever waits for it is told
  }

  async #place(): Promise<Placement> {
    const askedAt = this.#deps.clock.now();
    this.#placement = await place(this.target, this.#deps, { signal: this.#ending });
    this.#placedAt = askedAt;
    return this.#placement;
  }

  /** The control plane has answered. */
  get isPlaced(): boolean {
    return this.#placement !== undefined;
  }

  get #age(): number {
    return this.#placement ? this.#deps.clock.now() - this.#placedAt : 0;
  }
  get hasEnded(): boolean {
    return this.#placement !== undefined && this.#age > this.#placement.lifeMs - SPARE_MS;
  }
  get isOld(): boolean {
    return this.#placement !== undefined && this.#age > this.#placement.lifeMs * RENEW_AT;
  }

  get connections() {
    const { answer, lifeMs } = this.#placement ?? {};
    if (!answer) return [];
    return [...this.#warm].map(({ runs }) => ({
      node_id: answer.node_id,
      node_name: answer.node_name,
      runs,
      ends_at: Math.floor((this.#placedAt + lifeMs!) / 1000),
    }));
  }

  /** Resolves once a connection is there. */
  async ready(): Promise<void> {
    await this.#connection().opened;
  }

  async open(
    request: Uint8Array,
    runId: string,
    { signal }: Required<AbortOptions>,
  ): Promise<RemoteRun> {
    const warm = this.#connection(), isThere = warm.isOpen;
    warm.runs++;
    try {
      const connection = await abortable(warm.opened, signal);
      const { answer } = this.#placement!;
      const isLively = connection.silentMs < this.#deps.livelyMs;
      const spare = isLively ? warm.takeSpare() : undefined;
      const channel = spare
        ? beginRunChannel(spare, request)
        : await this.#openChannel(connection, request, signal, isThere);
      if (!this.#retired) warm.prepare(connection);
      const bound = answer.session_created && this.#isFirst;
      this.#isFirst = false;
      return remoteRun(channel, runId, { ...answer, session_created: bound }, {
        [Symbol.asyncDispose]: async () => {
          await channel[Symbol.asyncDispose]();
          this.#left(warm);
        },
      });
    } catch (error) {
      this.#left(warm);
      throw error;
    }
  }

  async #openChannel(
    connection: SshConnection,
    request: Uint8Array,
    signal: AbortSignal,
    isThere: boolean,
  ) {
    const { answer } = this.#placement!;
    const gone = () =>
      new OpenboxError("node_timeout", `The node ${answer.node_name} opened no channel in time`);
    using limit = isThere ? deadline(WARM_MS, gone, { signal }) : undefined;
    try {
      return await openRunChannel(connection, request, limit ?? { signal });
    } catch (error) {
      throw signal.aborted ? error : refusal(error, answer);
    }
  }

  /** The next commands go elsewhere; connections close with their last run. */
  retire(): void {
    this.#retired = true;
    for (const warm of this.#warm) if (warm.runs === 0) this.#close(warm);
  }

  #left(warm: Warm): void {
    warm.runs--;
    if (this.#retired && warm.runs === 0) this.#close(warm);
  }

  #close(warm: Warm): void {
    this.#warm.delete(warm);
    warm.close();
  }

  #connection(): Warm {
    for (const warm of this.#warm) if (warm.runs < MOST_RUNS) return warm;
    const warm: Warm = new Warm(this.#connect(), this.#ending, () => this.#warm.delete(warm));
    this.#warm.add(warm);
    return warm;
  }

  async #connect(): Promise<SshConnection> {
    const placement = await this.#placing;
    return await reachNode(
      placement,
      this.#deps,
      { signal: this.#ending },
      (connection) => Promise.resolve(connection),
    );
  }
}

/** One connection, or the attempt at it, and how many runs have it. */
class Warm {
  readonly opened: Promise<SshConnection>;
  runs = 0;
  isOpen = false;
  #spare: PreparedChannel | undefined;
  #preparing = false;

  constructor(opened: Promise<SshConnection>, ending: AbortSignal, onGone: () => void) {
    this.opened = opened;
    opened.then((connection) => {
      this.isOpen = true;
      if (connection.closed.aborted) return onGone();
      connection.closed.addEventListener("abort", onGone, { once: true });
      const close = () => this.close();
      ending.addEventListener("abort", close, { once: true });
      connection.closed.addEventListener("abort", () => {
        ending.removeEventListener("abort", close);
      }, { once: true });
    }, onGone);
  }

  /** Opens a channel ahead, where there is none: the next command's request leaves at once. */
  prepare(connection: SshConnection): void {
    if (this.#preparing) return;
    this.#preparing = true;
    connection.prepareChannel().then((spare) => this.#spare = spare, () => {
      this.#preparing = false; // the next command finds out what is wrong
    });
  }

  /** That channel, which is the caller's then. */
  takeSpare(): PreparedChannel | undefined {
    const spare = this.#spare;
    if (!spare) return undefined;
    this.#spare = undefined;
    this.#preparing = false;
    return spare.isGone ? undefined : spare;
  }

  /** Idempotent. */
  close(): void {
    this.opened.then((connection) => connection[Symbol.asyncDispose](), () => {});
  }
}
