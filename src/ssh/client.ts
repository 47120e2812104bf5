/** placeholder interface while the client is being written */
import type { Socket } from "node:net";
import type { AbortOptions } from "../abort.ts";
import type { ClientChannel } from "./channel.ts";
import type { PrivateKey, PublicKey } from "./key.ts";

export interface SshConnectOptions extends Required<AbortOptions> {
  /** A connected socket; the connection owns it, also when connecting fails. */
  readonly socket: Socket;
  readonly username: string;
  readonly key: PrivateKey;
  readonly certificate: Uint8Array;
  /** Returns the key that the host certificate vouches for; throws to refuse the host, before anything is sent. */
  verifyHost(certificate: Uint8Array): PublicKey;
}

export interface SshConnection extends AsyncDisposable {
  openSubsystem(name: string, options?: AbortOptions): Promise<ClientChannel>;
  openExec(command: string, options?: AbortOptions): Promise<ClientChannel>;
  /** Aborts when the connection is gone, with the reason. */
  readonly closed: AbortSignal;
}

/** The far end refused our certificate; `banner` is what it said, if anything. */
export declare class AuthRefusedError extends Error {
  readonly banner: string | undefined;
}
/** The far end closed before its version line: its waiting line is full, so nothing ran. */
export declare class NotAnsweredError extends Error {}
/** The connection ended under its channels. */
export declare class ConnectionLostError extends Error {}

export declare function connectSsh(options: SshConnectOptions): Promise<SshConnection>;
