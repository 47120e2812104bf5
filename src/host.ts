import type { Clock } from "./clock.ts";

/** What a command takes from its process, as a parameter: tests hand in their own. main.ts makes the real one. */
export interface Host {
  readonly args: readonly string[];
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
  /** Aborts at the first SIGINT, SIGTERM or SIGHUP that no `onSignal` handler took; its reason is an `Interrupted`. */
  readonly signal: AbortSignal;
  /** Undefined where the variable is unset or empty: an empty setting is no setting. */
  env(name: string): string | undefined;
  /** As `env`, and removes it, so that no child of this process inherits a secret. */
  takeEnv(name: string): string | undefined;
  cwd(): string;
  /** The executable that a shell would start again as this one; undefined where its launcher did not say. */
  readonly program: string | undefined;
  /** Starts a process that outlives this one, without its streams, and with this environment alone. */
  startDetached(
    command: readonly [string, ...string[]],
    env: Readonly<Record<string, string>>,
  ): void;
  /**
   * From here on this process starts no program and loads no library, whatever it is told. With `terminal`
   * it can still hand its terminal over.
   */
  dropPermissions(options?: { readonly terminal: boolean }): void;
  /** Takes a signal away from `signal` until disposed; the newest handler wins. */
  onSignal(name: HostSignal, handler: () => void): Disposable;
}

/** A switch in the environment: set to anything but `0` and `false`, in whatever case. */
export const isOn = (value: string | undefined): boolean =>
  value !== undefined && value !== "0" && value.toLowerCase() !== "false";

export type HostSignal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT" | "SIGWINCH";

export interface Input {
  isTerminal(): boolean;
  /** Bytes read into `buffer`, null at the end. One read at a time. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Full raw mode: no echo, no signals from keys (cbreak leaves echo off after Ctrl-C on Deno). */
  setRaw(raw: boolean): void;
  /**
   * Hands the terminal over to a remote one until disposed: keys come as bytes, and what is printed reaches
   * the screen as it is. However the process ends, if it is told, the terminal is given back.
   */
  passThrough(): Promise<Disposable>;
}

export interface Output {
  isTerminal(): boolean;
  /** Writes all of `bytes`; rejects with `BrokenPipe` when the reader is gone. */
  write(bytes: Uint8Array): Promise<void>;
  /** Of the terminal, in characters; undefined where it is none. */
  size(): { readonly cols: number; readonly rows: number } | undefined;
}

/** The reader of our output went away (`| head`): the process ends with 141 and says nothing. */
export class BrokenPipe extends Error {
  override readonly name = "BrokenPipe";
  /** As a shell tells a death by SIGPIPE. */
  readonly exitCode = 141;
}

/** The same on Linux and macOS, for these. */
export const SIGNAL_NUMBER: Readonly<Record<HostSignal, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGTERM: 15,
  SIGWINCH: 28,
};

/** A signal asked the process to end. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly signal: HostSignal;
  constructor(signal: HostSignal) {
    super(`ended by ${signal}`);
    this.signal = signal;
  }
  /** As a shell tells it: 128 and the signal's number. */
  get exitCode(): number {
    return 128 + SIGNAL_NUMBER[this.signal];
  }
}

/** The signal behind a failure: whatever broke after it, broke because of it. */
export function interruption(error: unknown, host: Pick<Host, "signal">): Interrupted | undefined {
  const reason: unknown = host.signal.aborted ? host.signal.reason : error;
  return reason instanceof Interrupted ? reason : undefined;
}
