/** A Host in memory: give it arguments, environment and stdin; read what it wrote. */
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { concat, text, utf8 } from "../../src/bytes.ts";
import { BrokenPipe, type Host, type HostSignal, type Output } from "../../src/host.ts";

export interface FakeHostOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
  readonly stdinTerminal?: boolean;
  readonly stdoutTerminal?: boolean;
  readonly stderrTerminal?: boolean;
  readonly columns?: number;
  readonly cwd?: string;
  readonly program?: string;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  /** Hears of what is written to stdout. */
  readonly onOutput?: (text: string) => void;
}

export interface FakeHost extends Host {
  /** Whether it may start nothing any more. */
  readonly dropped: boolean;
  readonly out: FakeOutput;
  readonly err: FakeOutput;
  /** What was started to outlive it. */
  readonly started: readonly (readonly string[])[];
  /** Delivers a signal as the system would. */
  raise(name: HostSignal): void;
}

export class FakeOutput implements Output {
  readonly #parts: Uint8Array[] = [];
  readonly #terminal: boolean;
  readonly #columns: number | undefined;
  /** Set it and the next write fails as on a closed pipe. */
  broken = false;
  readonly #onWrite: (text: string) => void;
  constructor(terminal: boolean, columns?: number, onWrite: (text: string) => void = () => {}) {
    this.#terminal = terminal;
    this.#onWrite = onWrite;
    this.#columns = columns;
  }
  isTerminal(): boolean {
    return this.#terminal;
  }
  size(): { cols: number; rows: number } | undefined {
    return this.#terminal ? { cols: this.#columns ?? 80, rows: 24 } : undefined;
  }
  write(bytes: Uint8Array): Promise<void> {
    if (this.broken) return Promise.reject(new BrokenPipe());
    this.#parts.push(bytes.slice());
    this.#onWrite(text(bytes));
    return Promise.resolve();
  }
  bytes(): Uint8Array {
    return concat(this.#parts);
  }
  text(): string {
    return text(this.bytes());
  }
}

export function fakeHost(options: FakeHostOptions = {}): FakeHost {
  const input = typeof options.stdin === "string"
    ? utf8(options.stdin)
    : options.stdin ?? new Uint8Array();
  let at = 0;
  const out = new FakeOutput(options.stdoutTerminal ?? false, options.columns, options.onOutput);
  const err = new FakeOutput(options.stderrTerminal ?? false, options.columns);
  const env: Record<string, string> = { ...options.env };
  const handlers: [HostSignal, () => void][] = [];
  const ending = new AbortController();
  const started: (readonly string[])[] = [];
  let dropped = false;
  return {
    started,
    args: options.args ?? [],
    out,
    err,
    stdout: out,
    stderr: err,
    stdin: {
      isTerminal: () => options.stdinTerminal ?? false,
      setRaw: () => {},
      passThrough: () => Promise.resolve({ [Symbol.dispose]: () => {} }),
      read(buffer) {
        if (at >= input.length) return Promise.resolve(null);
        const part = input.subarray(at, at + buffer.length);
        buffer.set(part);
        at += part.length;
        return Promise.resolve(part.length);
      },
    },
    clock: options.clock ?? systemClock,
    signal: options.signal ?? ending.signal,
    env: (name) => env[name] || undefined,
    takeEnv(name) {
      const value = env[name] || undefined;
      delete env[name];
      return value;
    },
    cwd: () => options.cwd ?? "/",
    program: options.program,
    startDetached(command) {
      if (dropped) throw new Error("what drops its permissions starts nothing any more");
      started.push(command);
    },
    dropPermissions: () => void (dropped = true),
    get dropped() {
      return dropped;
    },
    onSignal(name, handler) {
      const entry: [HostSignal, () => void] = [name, handler];
      handlers.push(entry);
      return { [Symbol.dispose]: () => void handlers.splice(handlers.indexOf(entry), 1) };
    },
    raise(name) {
      const taken = handlers.findLast(([wanted]) => wanted === name);
      if (taken) taken[1]();
      else ending.abort(new Error(name));
    },
  };
}
