/** openboxd: warm connections for the commands of one home, on a unix socket. Policy is not its business. */
import process from "node:process";
import { abortable, type AbortOptions } from "../abort.ts";
import type { Clock } from "../clock.ts";
import type { Ask, DaemonStatus } from "../ipc/messages.ts";
import { log } from "../log.ts";
import { VERSION } from "../version.ts";
import { attendClient } from "./attend_client.ts";
import { Identities, type IdentitySource } from "./identity.ts";
import type { LocalConn, LocalListener } from "./local_conn.ts";
import type { DaemonSettings } from "./settings.ts";

export interface DaemonDeps extends IdentitySource {
  readonly clock: Clock;
  readonly pid: number;
}

/** What a client may be left waiting after the runs were given up, to read how they ended. */
const FAREWELL_MS = 2000;

/**
 * Serves until `signal` aborts, somebody asks it to stop, or nobody asked for anything for `idleMs`.
 * Then it takes no more calls; what runs may go on for `drainMs`, and every client hears how it ended.
 */
export async function serveDaemon(
  listener: LocalListener,
  settings: DaemonSettings,
  deps: DaemonDeps,
  { signal }: Required<AbortOptions>,
): Promise<void> {
  const logger = log("daemon");
  const closing = new AbortController(), ending = new AbortController();
  await using identities = new Identities(settings.home, deps);
  const clients = new Set<Promise<void>>(), conns = new Set<LocalConn>();
  const idle = new IdleEnd(settings.idleMs, deps.clock, () => closing.abort("idle"));
  const startedAt = deps.clock.now();

  const onSignal = () => closing.abort("told to");
  signal.addEventListener("abort", onSignal, { once: true });
  if (signal.aborted) onSignal();
  closing.signal.addEventListener("abort", () => listener.close(), { once: true });

  async function answer(ask: Ask): Promise<unknown> {
    switch (ask.ask) {
      case "status":
        return await status();
      case "forget":
        (await identities.peek())?.pool.forget(ask.session);
        return {};
      case "stop":
        closing.abort("asked to stop");
        return {};
      case "retire":
        idle.endSoon();
        return {};
    }
  }

  async function status(): Promise<DaemonStatus> {
    const current = await identities.peek();
    return {
      pid: deps.pid,
      version: VERSION,
      started_at: Math.floor(startedAt / 1000),
      connections: current?.pool.connections ?? [],
      runs: idle.runs,
      idle_end_in_seconds: idle.endsInSeconds,
      timers: process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length,
    };
  }

  const client = { identities, closing: closing.signal, ending: ending.signal, answer };
  for (let conn; !closing.signal.aborted && (conn = await listener.accept());) {
    const accepted = conn;
    conns.add(accepted);
    const attended = attendClient(accepted, { ...client, countRun: () => idle.count() });
    clients.add(attended);
    void attended.finally(() => {
      clients.delete(attended);
      conns.delete(accepted);
    });
  }
  idle.stop();
  signal.removeEventListener("abort", onSignal);
  logger.info("ending: {why}; {runs} commands run", {
    why: String(closing.signal.reason),
    runs: idle.runs,
  });
  await settled(clients, settings.drainMs);
  ending.abort();
  await settled(clients, FAREWELL_MS);
  for (const conn of conns) conn.close();
  await Promise.all(clients);
}

/** Resolves when all have settled, or after `ms`. */
async function settled(promises: ReadonlySet<Promise<void>>, ms: number): Promise<void> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), ms);
  await abortable(Promise.all(promises), limit.signal).catch(() => {});
  clearTimeout(timer);
}

/** Ends a daemon that nobody needs. */
class IdleEnd {
  readonly #ms: number;
  readonly #clock: Clock;
  readonly #end: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #since: number;
  #soon = false;
  #stopped = false;
  runs = 0;

  constructor(ms: number, clock: Clock, end: () => void) {
    this.#ms = ms;
    this.#clock = clock;
    this.#end = end;
    this.#since = clock.now();
    this.#wait();
  }

  get endsInSeconds(): number | null {
    if (this.runs > 0) return null;
    return Math.max(0, Math.ceil((this.#since + this.#ms - this.#clock.now()) / 1000));
  }

  count(): Disposable {
    this.runs++;
    clearTimeout(this.#timer);
    return {
      [Symbol.dispose]: () => {
        this.#since = this.#clock.now();
        if (--this.runs === 0) this.#wait();
      },
    };
  }

  /** With the last run. */
  endSoon(): void {
    this.#soon = true;
    if (this.runs === 0) this.#end();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #wait(): void {
    if (this.#stopped) return;
    if (this.#soon) return this.#end();
    this.#timer = setTimeout(this.#end, this.#ms);
  }
}
