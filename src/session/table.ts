/**
 * The sessions of this node, by user and name. In each, one caller at a time has its turn, in order of
 * arrival. What becomes of a session that a caller was not told of is kept: its next call is refused once
 * with `lost`, so that nobody gets an empty shell for the one that they left, without a word.
 */
import { abortable, type AbortOptions } from "../abort.ts";
import { utf8 } from "../bytes.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";
import type { Exit, IsolationBackend, Process, Shell } from "../isolation/backend.ts";
import { formatIsolation, type IsolationSpec } from "../isolation/spec.ts";
import { log } from "../log.ts";
import type { Dialect } from "./dialect.ts";
import { changeTo, readChange } from "./change.ts";
import { openSessionShell, type SessionShell } from "./shell.ts";

export interface SessionKey {
  /** Never a user's name, which may be given to somebody else. */
  readonly userId: string;
  readonly name: string;
}

/** What is kept of a session on disk, as long as it lives and until its loss is told. */
export interface SessionRecord extends SessionKey {
  readonly isolation: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Why it is no more; undefined while it lives. */
  readonly lost: string | undefined;
}

export interface SessionRecords {
  /** Those that an agent before this one left. */
  read(): Promise<readonly SessionRecord[]>;
  write(record: SessionRecord): Promise<void>;
  remove(key: SessionKey): Promise<void>;
}

/** How a session is started, where it is not there yet. */
export interface SessionStart extends Omit<Shell, "argv" | "terminal"> {
  readonly backend: IsolationBackend;
  readonly spec: IsolationSpec;
  /** What its caller asked for besides, by flag. A session that is there must have been started with the same. */
  readonly asked?: ReadonlyMap<string, string>;
  /** The shell that stays. */
  dialect(): Promise<Dialect>;
}

export interface SessionCommand {
  readonly line: Uint8Array;
  /** As `export` and `cd` typed before it: they stay. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
}

/** Disposing it lets the next one have its turn; what still runs of the command is ended, the session is kept. */
export interface Turn extends AsyncDisposable {
  /** The session was started for it. */
  readonly created: boolean;
  /** Whether the shell has ended. */
  readonly ended: boolean;
  /** Once a turn. Throws `bad_directory` or `bad_environment` where what comes before the command fails. */
  run(command: SessionCommand): Promise<Process>;
  /** The caller knows that the session has ended, so that it may be started anew. */
  told(): void;
}

export interface SessionState extends SessionKey {
  readonly isolation: string;
  readonly idleMs: number;
  /** Of the last command; undefined before the first has ended. */
  readonly lastExit: number | undefined;
  readonly state: "idle" | "busy" | "lost";
}

/** Disposing it ends all sessions; the next agent finds them lost. */
export interface SessionTable extends AsyncDisposable {
  /** Waits for its turn. Throws `lost` once for a session that is lost, and `quota` beyond the caps. */
  enter(key: SessionKey, start: SessionStart, options: Required<AbortOptions>): Promise<Turn>;
  /** Ends it with all that runs in it; false where there was none. Those who wait for a turn are refused. */
  end(key: SessionKey): Promise<boolean>;
  list(): readonly SessionState[];
  /** Calls when a session starts, ends or is lost, and when a command of one has ended. */
  onChange(handler: () => void): Disposable;
}

export interface SessionTableDeps {
  readonly records: SessionRecords;
  readonly clock: Clock;
  readonly limits?: Partial<Limits>;
}

export interface Limits {
  readonly sessionsPerUser: number;
  readonly sessionsPerNode: number;
  readonly waitingPerSession: number;
  readonly idleMs: number;
  /** Those lost that nobody asked for since; beyond it the oldest are forgotten. */
  readonly lostPerNode: number;
}

const LIMITS: Limits = {
  sessionsPerUser: 20,
  sessionsPerNode: 200,
  waitingPerSession: 100,
  idleMs: 30 * 60_000,
  lostPerNode: 200,
};
const REAP_MS = 30_000;

export async function openSessionTable(deps: SessionTableDeps): Promise<SessionTable> {
  const lost = (await deps.records.read()).toSorted((a, b) => a.createdAt - b.createdAt)
    .map((record) => ({ ...record, lost: record.lost ?? "the agent was started anew" }));
  const table = new Table(deps, lost);
  return {
    enter: (key, start, options) => table.enter(key, start, options),
    end: (key) => table.end(key),
    list: () => table.list(),
    onChange: (handler) => table.onChange(handler),
    [Symbol.asyncDispose]: () => table.close(),
  };
}

const idOf = ({ userId, name }: SessionKey): string => `${userId}\0${name}`;

/** One session, from its first caller to its end. */
class Entry {
  readonly key: SessionKey;
  /** Settles when the turns so far are over. */
  tail: Promise<void> = Promise.resolve();
  /** Callers that have their turn or wait for it. */
  callers = 0;
  /** Settles once its shell is there, or cannot be. */
  starting: Promise<SessionShell> | undefined;
  shell: SessionShell | undefined;
  record: SessionRecord | undefined;
  /** What its first caller asked for besides the isolation. */
  asked: ReadonlyMap<string, string> = new Map();
  lastUsedAt: number;
  lastExit: number | undefined;
  /** Somebody ended it, who knows. */
  over = false;
  /** It takes the place of one whose end goes on. */
  follows = false;
  constructor(key: SessionKey, now: number) {
    this.key = key;
    this.lastUsedAt = now;
  }
}

class Table {
  readonly #deps: SessionTableDeps;
  readonly #limits: Limits;
  /** The oldest first. */
  readonly #lost = new Map<string, SessionRecord>();
  readonly #entries = new Map<string, Entry>();
  /** What is still being done about sessions that were taken out of `entries`, by id. Never rejects. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  /** Goes on as long as there are sessions. */
  #reaping: Promise<void> | undefined;
  readonly #watching = new Set<() => void>();

  constructor(deps: SessionTableDeps, lost: readonly SessionRecord[]) {
    this.#deps = deps;
    this.#limits = { ...LIMITS, ...deps.limits };
    for (const record of lost) this.#keepLost(record);
  }

  async enter(
    key: SessionKey,
    start: SessionStart,
    { signal }: Required<AbortOptions>,
  ): Promise<Turn> {
    const entry = this.#entry(key);
    if (entry.callers > this.#limits.waitingPerSession) {
      throw new OpenboxError("too_many", `Too many commands wait for the session ${key.name}`);
    }
    const leave = await this.#takeTurn(entry, signal);
    try {
      if (entry.over) throw endedMeanwhile(key);
      this.#refuseLost(entry);
      const created = entry.shell === undefined;
      if (created) await this.#startOnce(entry, start, signal);
      if (entry.over) throw endedMeanwhile(key);
      requireSame(entry, start);
      return this.#turn(entry, entry.shell!, created, leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Resolves with what ends the turn. Who gives up waiting is out of the line. */
  async #takeTurn(entry: Entry, signal: AbortSignal): Promise<() => void> {
    const before = entry.tail, mine = Promise.withResolvers<void>();
    entry.tail = before.then(() => mine.promise);
    entry.callers++;
    const leave = () => {
      entry.callers--;
      entry.lastUsedAt = this.#deps.clock.now();
      mine.resolve();
      this.#forgetEmpty(entry);
    };
    try {
      await abortable(before, AbortSignal.any([signal, this.#closing.signal]));
      return leave;
    } catch (error) {
      leave();
      throw error;
    }
  }

  #entry(key: SessionKey): Entry {
    const id = idOf(key), known = this.#entries.get(id);
    if (known) return known;
    const entry = new Entry(key, this.#deps.clock.now());
    this.#entries.set(id, entry);
    return entry;
  }

  #forgetEmpty(entry: Entry): void {
    const id = idOf(entry.key);
    const isIn = this.#entries.get(id) === entry;
    if (isIn && entry.callers === 0 && !entry.shell) this.#entries.delete(id);
  }

  #refuseLost({ key }: Entry): void {
    const record = this.#lost.get(idOf(key));
    if (!record) return;
    this.#lost.delete(idOf(key));
    this.#forget(key);
    throw new OpenboxError("lost", `The session ${key.name} is lost: ${record.lost}`, {
      hint: "its directory, variables and jobs are gone; the same command again starts it anew",
    });
  }

  #keepLost(record: SessionRecord): void {
    this.#lost.set(idOf(record), record);
    if (this.#lost.size <= this.#limits.lostPerNode) return;
    const [oldest] = this.#lost.values();
    this.#lost.delete(idOf(oldest!));
    this.#forget(oldest!);
  }

  /** A file that stays makes a session lost that is not: a needless refusal, not a silent loss. */
  #forget(key: SessionKey): void {
    this.#leave(key, this.#deps.records.remove(key));
  }

  #leave(key: SessionKey, work: PromiseLike<unknown>): void {
    const id = idOf(key);
    const done = work.then(() => {}, (error) => {
      log("agent", "session").warn("a session did not end as it should", { error });
    });
    const gone = Promise.all([this.#leaving.get(id), done]).then(() => {
      if (this.#leaving.get(id) === gone) this.#leaving.delete(id);
    });
    this.#leaving.set(id, gone);
  }

  async #startOnce(entry: Entry, start: SessionStart, signal: AbortSignal): Promise<void> {
    this.#checkQuota(entry.key);
    entry.starting = this.#start(entry, start, signal);
    try {
      entry.shell = await entry.starting;
      this.#reaping ??= this.#reap().finally(() => this.#reaping = undefined);
      this.#changed();
    } finally {
      entry.starting = undefined;
    }
  }

  async #start(
    entry: Entry,
    { backend, spec, asked = new Map(), dialect, env, ...place }: SessionStart,
    signal: AbortSignal,
  ): Promise<SessionShell> {
    const { key } = entry, { clock, records } = this.#deps;
    const isolation = formatIsolation(spec);
    entry.record = { ...key, isolation, createdAt: clock.now(), lost: undefined };
    await this.#leaving.get(idOf(key)); // or the end of the one before would remove this one's file
    await records.write(entry.record);
    let shell: SessionShell;
    try {
      shell = await openSessionShell(backend, spec, {
        dialect: await dialect(),
        env: { ...env, OPENBOX_SESSION: key.name },
        ...place,
      }, { signal });
    } catch (error) {
      await records.remove(key);
      throw error;
    }
    entry.asked = asked;
    entry.lastExit = undefined;
    shell.exit.then((exit) => {
      if (this.#closing.signal.aborted) return; // its file says it to the next agent
      // within a turn its caller learns of it
      if (entry.callers === 0 && entry.shell === shell) this.#lose(entry, died(exit));
    });
    return shell;
  }

  #checkQuota({ userId }: SessionKey): void {
    const live = [...this.#entries.values()].filter((entry) => entry.shell ?? entry.starting);
    const ofUser = live.filter((entry) => entry.key.userId === userId).length;
    const { sessionsPerUser, sessionsPerNode } = this.#limits;
    const hint = "openbox sessions lists yours; openbox session end NAME ends one";
    if (ofUser >= sessionsPerUser) {
      throw new OpenboxError("quota", `You have ${ofUser} sessions on this node already`, { hint });
    }
    if (live.length >= sessionsPerNode) {
      throw new OpenboxError("quota", `This node has ${live.length} sessions already`, { hint });
    }
  }

  #turn(entry: Entry, shell: SessionShell, created: boolean, leave: () => void): Turn {
    let told = false, disposed: Promise<void> | undefined;
    let process: Process | undefined;
    const dispose = async () => {
      await process?.[Symbol.asyncDispose]();
      if (shell.ended && entry.shell === shell) await this.#afterEnd(entry, shell, told);
      leave();
    };
    return {
      created,
      get ended() {
        return shell.ended;
      },
      run: async ({ line, env, cwd }) => {
        const change = changeTo(env, cwd);
        if (change) await readChange(await shell.run(utf8(change.line)), change);
        process = await shell.run(line);
        process.exit.then((exit) => {
          entry.lastExit = exit.kind === "exit" ? exit.code : 128 + exit.number;
          this.#changed();
        });
        return process;
      },
      told: () => void (told = true),
      [Symbol.asyncDispose]: () => disposed ??= dispose(),
    };
  }

  /** The shell ended within a turn. */
  async #afterEnd(entry: Entry, shell: SessionShell, told: boolean): Promise<void> {
    if (this.#closing.signal.aborted && !told) return; // the file says it
    if (!told) return this.#lose(entry, died(await shell.exit));
    entry.shell = undefined;
    await shell[Symbol.asyncDispose]();
    this.#forget(entry.key);
    this.#changed();
  }

  /** Its end is known to nobody: it is kept, and told with the next call. */
  #lose(entry: Entry, why: string): void {
    const { shell, record, key } = entry;
    if (!shell || !record) return;
    const lost = { ...record, lost: why };
    entry.shell = undefined;
    this.#keepLost(lost);
    log("agent", "session").info("session lost", { user: key.userId, session: key.name, why });
    this.#leave(key, this.#deps.records.write(lost));
    this.#leave(key, shell[Symbol.asyncDispose]());
    this.#forgetEmpty(entry);
    this.#changed();
  }

  async end(key: SessionKey): Promise<boolean> {
    const id = idOf(key), entry = this.#entries.get(id);
    const wasLost = this.#lost.delete(id);
    if (!entry) {
      if (wasLost) this.#forget(key);
      await this.#leaving.get(id);
      return wasLost;
    }
    const was = entry.shell !== undefined || entry.starting !== undefined || entry.follows;
    entry.over = true;
    const next = new Entry(key, this.#deps.clock.now());
    next.follows = true;
    const gone = this.#endEntry(entry, this.#leaving.get(id));
    this.#leave(key, gone);
    next.tail = gone.catch(() => {});
    this.#entries.set(id, next);
    try {
      await gone;
    } finally {
      next.follows = false;
      this.#forgetEmpty(next);
    }
    return was;
  }

  /** `before`: an end of the same session that goes on. */
  async #endEntry(entry: Entry, before: Promise<void> | undefined): Promise<void> {
    await before;
    await entry.starting?.catch(() => {}); // told to its caller
    const { shell } = entry;
    entry.shell = undefined;
    await shell?.[Symbol.asyncDispose]();
    await this.#deps.records.remove(entry.key);
  }

  list(): readonly SessionState[] {
    const now = this.#deps.clock.now();
    const live = [...this.#entries.values()].flatMap((entry): SessionState[] =>
      entry.record && entry.shell
        ? [{
          ...entry.key,
          isolation: entry.record.isolation,
          idleMs: entry.callers > 0 ? 0 : Math.max(0, now - entry.lastUsedAt),
          lastExit: entry.lastExit,
          state: entry.callers > 0 ? "busy" : "idle",
        }]
        : []
    );
    const lost = [...this.#lost.values()].map(({ userId, name, isolation }): SessionState => ({
      userId,
      name,
      isolation,
      idleMs: 0,
      lastExit: undefined,
      state: "lost",
    }));
    return [...live, ...lost];
  }

  onChange(handler: () => void): Disposable {
    this.#watching.add(handler);
    return { [Symbol.dispose]: () => void this.#watching.delete(handler) };
  }

  #changed(): void {
    for (const handler of this.#watching) handler();
  }

  async #reap(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await this.#deps.clock.sleep(REAP_MS, { signal }).catch(() => {});
      if (signal.aborted || this.#entries.size === 0) return;
      const { idleMs } = this.#limits, now = this.#deps.clock.now();
      for (const entry of this.#entries.values()) {
        const idle = entry.callers === 0 && now - entry.lastUsedAt >= idleMs;
        if (idle) this.#lose(entry, `it was idle for ${Math.round(idleMs / 60_000)} minutes`);
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new OpenboxError("unavailable", "The agent ends"));
    await this.#reaping;
    const entries = [...this.#entries.values()];
    await Promise.all(entries.map((entry) => entry.shell?.[Symbol.asyncDispose]()));
    await Promise.all(entries.map((entry) => entry.tail));
    await Promise.all(this.#leaving.values());
  }
}

/** What nobody asks for again stays as it was. */
function requireSame({ key, record, asked }: Entry, start: SessionStart): void {
  const refuse = (why: string, what: string): never => {
    throw new OpenboxError("session_isolation_mismatch", `The session ${key.name} ${why}`, {
      hint: `leave ${what} out, or openbox session end ${key.name} first`,
    });
  };
  const wanted = formatIsolation(start.spec);
  if (record && record.isolation !== wanted) {
    refuse(`is in ${record.isolation}, not in ${wanted}`, "the isolation");
  }
  for (const [flag, value] of start.asked ?? []) {
    const was = asked.get(flag);
    if (was === value) continue;
    const given = was === undefined ? `without ${flag}` : `with ${flag} ${was}, not ${value}`;
    refuse(`was started ${given}`, flag);
  }
}

const endedMeanwhile = ({ name }: SessionKey) =>
  new OpenboxError("conflict", `The session ${name} was ended while the command waited for it`, {
    hint: "the same command again starts it anew",
  });

function died(exit: Exit): string {
  const how = exit.kind === "exit" ? `with code ${exit.code}` : `by SIG${exit.signal}`;
  return `its shell ended ${how}, and nobody was there to be told`;
}
