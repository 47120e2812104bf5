/** How a command is kept apart from its node: the contract of every backend, tried by tests/contract. */
import type { AbortOptions } from "../abort.ts";
import type { IsolationSpec } from "./spec.ts";

/** How a process ended by itself. Names of signals without SIG; a realtime signal is `RT` and its number. */
export type Exit =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: string; readonly number: number };

/** What is to run: `line` is given to `/bin/sh -c`. */
export interface Command {
  readonly line: string;
  /** Exactly the environment of the process, nothing added. */
  readonly env: Readonly<Record<string, string>>;
  /** Absolute; the backend refuses one that is missing with `bad_directory` before anything starts. */
  readonly cwd: string;
}

/** A started command. Disposing it kills what is left of it, tree and all, and waits; idempotent. */
export interface Process extends AsyncDisposable {
  readonly stdin: WritableStream<Uint8Array>;
  /** End at EOF, or once the command has ended and its output has been quiet (a background job holds it open). */
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** Never rejects for anything the command did. Settles when the command itself ended; its output may follow. */
  readonly exit: Promise<Exit>;
  /** Signals the command's whole group; nothing happens when it is gone. */
  kill(signal: Deno.Signal): void;
}

export interface IsolationBackend {
  readonly kind: IsolationSpec["kind"];
  /** Throws an OpenboxError, with nothing started, where it can't: never another isolation instead. */
  run(spec: IsolationSpec, command: Command, options?: AbortOptions): Promise<Process>;
}
