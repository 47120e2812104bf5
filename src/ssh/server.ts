/**
 * The serving end: admission, key exchange with the host certificate, authentication by user certificate,
 * session channels. What may be believed and what a channel does are the caller's: `authenticate` returns
 * its proof, and every channel carries it.
 */
import { Buffer } from "node:buffer";
import {
  Admission,
  ADMISSION_LIMITS,
  type AdmissionLimits,
  type Candidate,
  sourceOf,
} from "./admission.ts";
import type { ServerChannel } from "./channel.ts";
import { type ChannelEvents, Connection } from "./connection.ts";
import { DISCONNECT, MESSAGE, OPEN_FAILURE } from "./messages.ts";
import { createServerChannel } from "./server_channel.ts";
import { type HostIdentity, IDENT, protocolReady } from "./ssh2_protocol.ts";
import {
  type ByteStream,
  openMessage,
  ProtocolError,
  Transport,
  TRANSPORT_LIMITS,
  type TransportLimits,
} from "./transport.ts";
import {
  bannerMessage,
  failureAnswer,
  probeAnswer,
  readAuthRequest,
  USERAUTH_SERVICE,
} from "./userauth.ts";
import { str } from "./wire.ts";

export type { HostIdentity };

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
  /** Asked at authentication, and again with the same request for each channel that opens. Must not throw. */
  authenticate(request: AuthRequest): AuthDecision<Proof>;
  /** Whether an `env` request is taken; others are answered with a failure. */
  acceptEnv(name: string): boolean;
  /** Whether there is such a subsystem; a channel that asks for another gets a failure. */
  acceptSubsystem(name: string): boolean;
  /** Whether a `pty-req` is granted; a client that is told no goes on without a terminal. */
  permitPty(proof: Proof): boolean;
  /** Owns the channel from here on; what it rejects with is logged and ends the channel. */
  onChannel(channel: ServerChannel<Proof>): Promise<void>;
  /** One line an event that somebody may want to know of; `fields` hold no secret. */
  log?(event: string, fields: Record<string, unknown>): void;
  readonly limits?: Partial<SshServerLimits>;
}

export interface SshServerLimits extends AdmissionLimits, TransportLimits {
  /** From accepted to authenticated (LoginGraceTime). */
  readonly graceMs: number;
  readonly tries: number;
  /** Session channels of one connection. */
  readonly channels: number;
}

export const SERVER_LIMITS: SshServerLimits = {
  ...ADMISSION_LIMITS,
  ...TRANSPORT_LIMITS,
  graceMs: 20_000,
  tries: 6,
  channels: 64,
};

export interface SshServer<Proof> extends AsyncDisposable {
  /** Takes over an accepted connection. */
  accept(socket: ByteStream): void;
  /** Open connections. */
  readonly connections: { readonly unauthenticated: number; readonly authenticated: number };
  /** Closes the authenticated connections whose proof `which` picks; returns how many. */
  close(which: (proof: Proof) => boolean): number;
}

/** Disposing it closes every connection; a channel's owner sees that by its `closed`. */
export function createSshServer<Proof>(options: SshServerOptions<Proof>): SshServer<Proof> {
  const limits = { ...SERVER_LIMITS, ...options.limits };
  const admission = new Admission(limits);
  const authenticated = new Map<Transport, Proof>();
  const unauthenticated = new Set<ByteStream>();
  const log = options.log ?? (() => {});

  return {
    accept(socket) {
      const remoteAddress = socket.remoteAddress ?? "";
      let transport: Transport | undefined;
      unauthenticated.add(socket);
      const candidate: Candidate = {
        source: sourceOf(remoteAddress),
        begin: () =>
          void protocolReady().then(begin).catch((error: Error) => {
            log("connection failed", { peer: remoteAddress, reason: error.message });
            socket.destroy();
          }),
        turnAway: () => {
          log("turned away", { peer: remoteAddress });
          // our version line goes first: by it a client knows that it may try again
          if (socket.writableLength > 0) socket.end(() => socket.destroy());
          else socket.destroy();
        },
      };
      const settle = () => {
        clearTimeout(grace);
        unauthenticated.delete(socket);
        admission.leave(candidate);
      };
      const grace = setTimeout(() => {
        log("not authenticated in time", { peer: remoteAddress });
        transport?.close(new Error("not authenticated in time"));
        socket.destroy();
      }, limits.graceMs);
      socket.on("error", () => {}); // a reset says nothing that its close does not
      socket.once("close", settle);
      // the version line goes out at once: some clients wait for it before they send theirs (ssh-keyscan)
      socket.write(`SSH-2.0-${IDENT}\r\n`);
      admission.arrive(candidate);
      let early = new Uint8Array();
      readVersionLine(socket, (bytes) => {
        if (!bytes) return socket.destroy();
        early = bytes;
        admission.speak(candidate);
      });

      const begin = () => {
        if (socket.destroyed) return;
        transport = serve(options, limits, socket, remoteAddress, {
          onAuthenticated(done, proof) {
            settle();
            authenticated.set(done, proof);
          },
          onClose(done) {
            settle();
            authenticated.delete(done);
          },
        });
        transport.start(early);
      };
    },

    get connections() {
      return { unauthenticated: unauthenticated.size, authenticated: authenticated.size };
    },

    close(which) {
      const found = [...authenticated].filter(([, proof]) => which(proof));
      for (const [transport] of found) transport.close();
      return found.length;
    },

    [Symbol.asyncDispose]() {
      for (const transport of authenticated.keys()) transport.close();
      for (const socket of unauthenticated) socket.destroy();
      return Promise.resolve();
    },
  };
}

/** RFC 4253 §4.2: 255 bytes with the line's end. A client may send nothing before it. */
const MAX_VERSION_LINE = 255;
const VERSION = /^SSH-2\.0-[\x21-\x7e]+(?: [\x20-\x7e]*)?\r?\n$/;

/** Calls back once with all that came up to and behind the version line, undefined where there is none. Stops reading. */
function readVersionLine(
  socket: ByteStream,
  done: (bytes: Uint8Array<ArrayBuffer> | undefined) => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const onData = (bytes: Buffer) => {
    seen = Buffer.concat([seen, bytes]);
    const end = seen.indexOf(10);
    if (end < 0 && seen.length < MAX_VERSION_LINE) return;
    socket.off("data", onData);
    socket.pause();
    const line = seen.subarray(0, end + 1);
    const valid = line.length <= MAX_VERSION_LINE && VERSION.test(line.toString("latin1"));
    done(valid ? new Uint8Array(seen) : undefined);
  };
  socket.on("data", onData);
}

interface ServeHooks<Proof> {
  onAuthenticated(transport: Transport, proof: Proof): void;
  onClose(transport: Transport): void;
}

/** One connection, from the key exchange on. */
function serve<Proof>(
  options: SshServerOptions<Proof>,
  limits: SshServerLimits,
  socket: ByteStream,
  remoteAddress: string,
  hooks: ServeHooks<Proof>,
): Transport {
  const log = options.log ?? (() => {});
  /** Each phase takes its own messages; any other ends the connection (CVE-2025-32433: a channel before authentication). */
  let phase: "service" | "auth" | "open" = "service";
  let failures = 0, askedNone = false;
  let request: AuthRequest | undefined;

  const transport = new Transport(socket, { kind: "server", identity: options.identity() }, {
    onReady: () => {},
    onMessage(payload) {
      if (phase === "open") {
        if (payload[0]! < MESSAGE.GLOBAL_REQUEST) {
          throw new ProtocolError("authentication after authentication");
        }
        connection.receive(payload);
      } else if (phase === "auth") authenticate(payload);
      else requestService(payload);
    },
    onClose(error) {
      hooks.onClose(transport);
      if (error) log("connection ended", { peer: remoteAddress, phase, reason: error.message });
      connection.end(error ?? new Error("the connection was closed"));
    },
  }, limits);

  const connection = new Connection(transport, {
    onOpen(type) {
      if (type !== "session") {
        const refuse = FORWARDINGS.has(type)
          ? OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED
          : OPEN_FAILURE.UNKNOWN_CHANNEL_TYPE;
        return { refuse, text: `${type} is not served` };
      }
      if (connection.size >= limits.channels) {
        return {
          refuse: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED,
          text: `a connection may have ${limits.channels} channels`,
        };
      }
      // a certificate that ended meanwhile opens nothing more; what runs goes on
      const decision = options.authenticate(request!);
      if (!decision.accept) {
        return {
          refuse: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED,
          text: decision.banner ?? "not allowed",
        };
      }
      return { accept: sessionEvents(decision.proof) };
    },
  });

  function requestService(payload: Buffer): void {
    const { type, fields } = openMessage(payload);
    if (type !== MESSAGE.SERVICE_REQUEST || fields.text() !== USERAUTH_SERVICE) {
      return transport.close(
        new ProtocolError("a message before authentication"),
        DISCONNECT.SERVICE_NOT_AVAILABLE,
      );
    }
    phase = "auth";
    transport.send(Buffer.from([MESSAGE.SERVICE_ACCEPT]), str(USERAUTH_SERVICE));
  }

  function authenticate(payload: Buffer): void {
    if (payload[0] !== MESSAGE.USERAUTH_REQUEST) {
      throw new ProtocolError("a message before authentication");
    }
    const attempt = readAuthRequest(payload, transport.sessionId);
    if (attempt.kind === "probe") return transport.send(probeAnswer(attempt.certificate));
    if (attempt.kind === "none" && !askedNone) {
      askedNone = true;
      return transport.send(failureAnswer());
    }
    if (attempt.kind !== "proved") {
      return fail(attempt.kind === "failed" ? attempt.reason : "method none");
    }
    const asked = { username: attempt.username, certificate: attempt.certificate, remoteAddress };
    const decision = options.authenticate(asked);
    if (!decision.accept) {
      if (!decision.banner) return fail(decision.reason);
      log("refused", { peer: remoteAddress, reason: decision.reason });
      transport.send(bannerMessage(decision.banner));
      transport.send(failureAnswer());
      return transport.close(new Error(decision.reason), DISCONNECT.NO_MORE_AUTH_METHODS);
    }
    request = asked;
    phase = "open";
    transport.send(Buffer.from([MESSAGE.USERAUTH_SUCCESS]));
    transport.authenticated();
    hooks.onAuthenticated(transport, decision.proof);
  }

  function fail(reason: string): void {
    log("refused", { peer: remoteAddress, reason });
    transport.send(failureAnswer());
    if (++failures >= limits.tries) {
      transport.close(new Error("too many tries"), DISCONNECT.NO_MORE_AUTH_METHODS);
    }
  }

  function sessionEvents(proof: Proof): ChannelEvents {
    return createServerChannel(
      proof,
      { ...options, isStillAllowed: () => options.authenticate(request!).accept },
      (channel) =>
        options.onChannel(channel).catch((error) => {
          log("channel failed", { peer: remoteAddress, reason: String(error?.message ?? error) });
          throw error;
        }),
    );
  }

  return transport;
}

/** Known, and not served. */
const FORWARDINGS = new Set([
  "direct-tcpip",
  "forwarded-tcpip",
  "direct-streamlocal@openssh.com",
  "forwarded-streamlocal@openssh.com",
  "x11",
  "auth-agent@openssh.com",
]);
