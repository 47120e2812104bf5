/** How a command is kept apart from its node: the contract of every backend, tried by tests/contract. */
import type { AbortOptions } from "../abort.ts";
import type { IsolationSpec } from "./spec.ts";

/** How a process ended by itself. Names of signals without SIG; a realtime signal is `RT` and its number. */
export type Exit =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: string; readonly number: number };

/** Of a terminal, in characters. */
export interface ScreenSize {
  readonly cols: number;
  readonly rows: number;
}

/** What is to run. */
export interface Command {
  /** What `/bin/sh -c` gets, of any length. Bytes, since a command line need not be UTF-8; never NUL. */
  readonly line: Uint8Array;
  /** Exactly the environment of the process, nothing added. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * The backend refuses one that is missing with `bad_directory` before anything starts. Relative, it is
   * from where the image or the tree has its commands start, and undefined it is that place itself; native
   * knows none, so there it is absolute, and undefined is `/`.
   */
  readonly cwd: string | undefined;
  /** Undefined: none. A backend refuses what it cannot hold with `limit_unsupported`, before anything starts. */
  readonly confinement?: Confinement;
  /** The account of this machine that it runs as; undefined: the agent's own, or the image's. */
  readonly account?: Account;
  /**
   * Its three streams are a terminal of this size, which controls its session; `env` says which kind of
   * terminal. All that it prints then comes as stdout, and stderr is empty.
   */
  readonly terminal?: ScreenSize;
}

/** What is held besides the isolation itself. Undefined is what the backend does by itself: no limit, no mount. */
export interface Confinement {
  readonly memoryBytes?: number;
  /** Of the machine's cores, in parts: 0.5 is half of one. */
  readonly cpus?: number;
  /** Processes and threads. */
  readonly pids?: number;
  readonly shmBytes?: number;
  /** `all`, a count, or `device=ID,…`, as docker takes it. */
  readonly gpus?: string;
  readonly net?: "bridge" | "host" | "none";
  readonly mounts?: readonly Mount[];
  /** What is written to the tree is gone with the process. */
  readonly volatile?: boolean;
  /** The hardened profile: for code that its node does not trust. */
  readonly untrusted?: boolean;
}

/** A path of the machine, seen in the isolation as `target`. Both absolute. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** A user of the operating system. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * A started command. It goes on until it has exited and both outputs have ended. Disposing one that goes
 * on, or that was told to end, ends its whole tree and waits; of one that ended by itself what it left in
 * the background lives on, where the isolation allows that. Idempotent.
 */
export interface Process extends AsyncDisposable {
  /**
   * A write resolves once the pipe took it and rejects when nobody reads any more; close is EOF, except on
   * a terminal, which has none: a program there takes Ctrl-D for it.
   */
  readonly stdin: WritableStream<Uint8Array>;
  /** End at EOF, or once the command has exited and its output has been quiet (a background job holds it open). */
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /**
   * Never rejects for anything the command did; with `lost` where what ran it is gone, and nobody knows.
   * Settles when the command itself exited; its output may follow.
   */
  readonly exit: Promise<Exit>;
  /** Signals the command's whole group, SIGKILL its whole tree. HUP, INT, QUIT, TERM and KILL tell it to end. */
  kill(signal: Deno.Signal): void;
  /** Its terminal's size from now on, which its programs are told. Does nothing where it has none. */
  resize(size: ScreenSize): void;
  /** SIGTERM (on a terminal SIGHUP before it), a grace, SIGKILL to the whole tree. Resolves once it is gone; what it wrote can still be read. */
  terminate(): Promise<void>;
}

export interface RunOptions extends AbortOptions {
  /** Told how far it is, a line of text at a time, where something has to be fetched first. */
  onProgress?(text: string): void;
}

export interface IsolationBackend {
  readonly kind: IsolationSpec["kind"];
  /** Throws an OpenboxError, with nothing started, where it can't: never another isolation instead. */
  run(spec: IsolationSpec, command: Command, options?: RunOptions): Promise<Process>;
  /** The first of these absolute paths that is an executable file in there. Throws as `run` does. */
  findProgram(
    spec: IsolationSpec,
    paths: readonly string[],
    options?: RunOptions,
  ): Promise<string | undefined>;
  /** A shell that stays, for a session. Throws as `run` does. */
  keepShell(spec: IsolationSpec, shell: Shell, options?: RunOptions): Promise<KeptShell>;
}

/** The program of a shell that stays, and in what it starts. */
export interface Shell extends Omit<Command, "line"> {
  /** Absolute, then its arguments. */
  readonly argv: readonly string[];
}

/**
 * A shell that stays. Its own stdin and stdout carry what it is told and what it answers; the streams of
 * each of its commands go through a relay. Disposing it ends its whole tree and waits. Idempotent.
 */
export interface KeptShell extends AsyncDisposable {
  /** Its stdin. A shell that is gone takes it without a word. */
  tell(text: string): Promise<void>;
  readonly stdout: ReadableStream<Uint8Array>;
  /** Never rejects for anything that ran in it. */
  readonly exit: Promise<Exit>;
  openRelay(): Promise<Relay>;
  /** The processes of its tree, but for the shell itself. */
  processes(): Promise<ReadonlySet<number>>;
  /** SIGINT to its whole group, as a terminal does it. */
  interrupt(): void;
  /** To those of its tree that still are in it. */
  signal(pids: Iterable<number>, signal: Deno.Signal): void;
  /** Ends the shell alone, at once. */
  kill(): void;
}

/**
 * Carries the streams of one command between the named pipes that the shell opens for it and us, so that
 * no thread of ours waits in the opening of one. Disposing it ends it, and whoever still writes into it
 * finds the pipe closed.
 */
export interface Relay extends AsyncDisposable {
  /**
   * A path where the shell is. The named pipes are this and `.0`, `.1`, `.2`: stdin, stdout, stderr of the
   * command. The shell does not wait in opening an output.
   */
  readonly base: string;
  /** The command's file, for the shell to source: `base` and `.c`. Private. */
  writeCommand(line: Uint8Array): Promise<void>;
  /** Something ended it, and it carries nothing any more. */
  readonly gone: boolean;
  /** As of a Process. */
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: RelayOutput;
  readonly stderr: RelayOutput;
}

export interface RelayOutput {
  /**
   * Puts it behind all that was written. Waits as long as the named pipe is full; after `release` it does
   * nothing.
   */
  append(token: Uint8Array): Promise<void>;
  /** From here on it ends with its last writer. Idempotent. */
  release(): void;
  /** Undefined once nobody holds the named pipe, or the relay has ended. One read at a time. */
  read(): Promise<Uint8Array | undefined>;
}
