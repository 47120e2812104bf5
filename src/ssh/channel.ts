/**
 * What a session channel (RFC 4254 §6) looks like to the code that serves or uses it. Both ends have
 * back-pressure: what is not read keeps the peer's window closed, and a write resolves only when the
 * window and the socket took it.
 */

import type { ScreenSize, TerminalRequest } from "./screen.ts";

/** The two streams a server writes to. */
export type OutputStream = "stdout" | "stderr";

/** How the remote side said that it ended. */
export type RemoteExit =
  | { readonly kind: "exit"; readonly code: number }
  /** Name without SIG, as on the wire: `TERM`, `KILL`, `RT35@openbox.io`. */
  | { readonly kind: "signal"; readonly signal: string };

/** What a client asked this channel to be. */
export type ChannelRequest =
  /** Bytes: a command line need not be UTF-8. Never NUL. */
  | { readonly kind: "exec"; readonly command: Uint8Array }
  | { readonly kind: "shell" }
  | { readonly kind: "subsystem"; readonly name: string };

/** Bytes that arrive: one chunk a call, null at EOF or when the channel is gone. One read at a time. */
export interface ByteSource {
  read(): Promise<Uint8Array | null>;
}

/** One session channel on the serving side, handed over once its exec, shell or subsystem request came. */
export interface ServerChannel<Proof> {
  /** What `authenticate` returned for this connection, checked again when this channel opened. */
  readonly proof: Proof;
  readonly request: ChannelRequest;
  /** `env` requests that `acceptEnv` let through, before the request. */
  readonly env: ReadonlyMap<string, string>;
  /** A `pty-req` that was granted, before the request. */
  readonly terminal: TerminalRequest | undefined;
  /** What the client sends until its EOF. */
  readonly input: ByteSource;
  /** Aborts when the channel or its connection is gone: nobody reads or waits any more. */
  readonly closed: AbortSignal;
  /** Aborts when the client closed its standard output (`eow@openssh.com`), or with `closed`. */
  readonly outputClosed: AbortSignal;
  /** Resolves when the bytes are on their way; false where they are dropped, the channel being gone. */
  write(stream: OutputStream, bytes: Uint8Array): Promise<boolean>;
  /** Standard `signal` requests (RFC 4254 §6.9), by name without SIG. One handler; those before it are kept. */
  onSignal(handler: (name: string) => void): void;
  /** `window-change` requests (RFC 4254 §6.7). One handler; it is told the last one before it. */
  onResize(handler: (size: ScreenSize) => void): void;
  /** A channel request that wants no reply, such as `openbox-outcome@openbox.io`. */
  sendRequest(type: string, payload: Uint8Array): void;
  /** Sends the exit, EOF and close, in order, once. Idempotent; does nothing on a channel that is gone. */
  end(exit: RemoteExit): Promise<void>;
}

/** One session channel on the asking side. Disposing it closes the channel and waits for the close. */
export interface ClientChannel extends AsyncDisposable {
  readonly stdout: ByteSource;
  readonly stderr: ByteSource;
  /** Resolves when the bytes are on their way; false where they are dropped, the far end having closed. */
  write(bytes: Uint8Array): Promise<boolean>;
  /** EOF: no more input. Idempotent. */
  endInput(): void;
  /** A standard `signal` request, by name without SIG. */
  signal(name: string): void;
  /** A `window-change`: the terminal here has this size now. */
  resize(size: ScreenSize): void;
  /** Tells the far end that nobody reads its standard output any more (`eow@openssh.com`). */
  closeOutput(): void;
  /** Channel requests that the far end sent of a type registered in `requests`. The last one of a type wins. */
  received(type: string): Uint8Array | undefined;
  /** Calls with the payload of each request of this type, as it comes. One handler a type; it is told the last one before it. */
  onRequest(type: string, handler: (payload: Uint8Array) => void): void;
  /**
   * Settles once the channel is closed and both streams are read to their end. Undefined: the far end
   * closed without an exit-status. Rejects when the connection was lost before, and with ChannelRefusedError
   * where the far end refused what the channel was asked to be.
   */
  readonly exit: Promise<RemoteExit | undefined>;
}
