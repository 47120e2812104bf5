/** placeholder interface while the server is being written */
import type { Socket } from "node:net";
import type { PrivateKey } from "./key.ts";
import type { ServerChannel } from "./channel.ts";

export interface HostIdentity {
  readonly key: PrivateKey;
  readonly certificate: Uint8Array;
}

export interface AuthRequest {
  readonly username: string;
  /** The certificate's bytes; the peer has proved that it holds the key named in it. */
  readonly certificate: Uint8Array;
  readonly remoteAddress: string;
}

export type AuthDecision<Proof> =
  | { readonly accept: true; readonly proof: Proof }
  /** `banner` is shown to the peer before it is disconnected; without it the peer learns nothing. */
  | { readonly accept: false; readonly reason: string; readonly banner?: string };

export interface SshServerOptions<Proof> {
  /** Asked for each new connection, so that a renewed host certificate is used at once. */
  identity(): HostIdentity;
  authenticate(request: AuthRequest): AuthDecision<Proof>;
  /** Whether an `env` request is taken; others are answered with a failure. */
  acceptEnv(name: string): boolean;
  /** Owns the channel from here on; what it throws or rejects with is logged and ends the channel. */
  onChannel(channel: ServerChannel<Proof>): Promise<void>;
}

export interface SshServer extends AsyncDisposable {
  /** Takes over an accepted connection. */
  accept(socket: Socket): void;
  /** Open connections, for tests and metrics. */
  readonly connections: { readonly unauthenticated: number; readonly authenticated: number };
}

export declare function createSshServer<Proof>(options: SshServerOptions<Proof>): SshServer;
