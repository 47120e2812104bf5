/**
 * The asking end: connects over a socket, takes only a certified host, shows a user certificate, opens
 * session channels. Whether the host may be believed is the caller's `verifyHost`.
 */
import { Buffer } from "node:buffer";
import { abortable, type AbortOptions, abortReason } from "../abort.ts";
import type { ClientChannel } from "./channel.ts";
import { openClientChannel, prepareChannel, type PreparedChannel } from "./client_channel.ts";
import { Connection } from "./connection.ts";
import type { PrivateKey, PublicKey } from "./key.ts";
import { DISCONNECT, MESSAGE, OPEN_FAILURE } from "./messages.ts";
import { protocolReady } from "./ssh2_protocol.ts";
import {
  type ByteStream,
  openMessage,
  ProtocolError,
  SocketGoneError,
  Transport,
  TRANSPORT_LIMITS,
  type TransportLimits,
} from "./transport.ts";
import { authRequest, USERAUTH_SERVICE } from "./userauth.ts";
import { str } from "./wire.ts";

export interface SshConnectOptions extends Required<AbortOptions> {
  /** A connected socket; the connection owns it, also when connecting fails. */
  readonly socket: ByteStream;
  readonly username: string;
  readonly key: PrivateKey;
  readonly certificate: Uint8Array;
  /** Returns the key that the host certificate vouches for; throws to refuse the host, before anything is sent. */
  verifyHost(certificate: Uint8Array): PublicKey;
  readonly limits?: Partial<TransportLimits>;
}

export interface SshConnection extends AsyncDisposable {
  /** Rejects with ChannelRefusedError where the far end opens none, ConnectionLostError when it is gone. */
  openSubsystem(
    name: string,
    options?: AbortOptions & {
      /**
       * The first of the input: it leaves with the request, and the channel is there before the answer to
       * it is. A refusal is what `exit` rejects with then (ChannelRefusedError).
       */
      readonly input?: Uint8Array;
    },
  ): Promise<ClientChannel>;
  openExec(command: string, options?: AbortOptions): Promise<ClientChannel>;
  /** Opens a channel ahead of what it will be for. */
  prepareChannel(): Promise<PreparedChannel>;
  /** Milliseconds since the far end was last heard. */
  readonly silentMs: number;
  /** Aborts when the connection is gone, with the reason. */
  readonly closed: AbortSignal;
}

/** The far end refused our certificate; `banner` is what it said, if anything. */
export class AuthRefusedError extends Error {
  override readonly name = "AuthRefusedError";
  readonly banner: string | undefined;
  constructor(banner: string | undefined) {
    super(banner ?? "the far end refused the certificate");
    this.banner = banner;
  }
}

/**
 * The far end began as SSH and closed before its part of the key exchange, as our server does where too
 * many are waiting. Nothing ran.
 */
export class NotAnsweredError extends Error {
  override readonly name = "NotAnsweredError";
}

/** The connection ended under its channels. */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
}

/** What a banner may be: one line, printable, of a sane length. The rest of it is dropped. */
const MAX_BANNER = 1024;

/**
 * Resolves once authenticated. Rejects with what `verifyHost` threw, AuthRefusedError, NotAnsweredError,
 * the signal's reason, or the error of the socket; the socket is destroyed then.
 */
export async function connectSsh(options: SshConnectOptions): Promise<SshConnection> {
  const { socket, signal } = options;
  await protocolReady();
  const opened = Promise.withResolvers<void>();
  opened.promise.catch(() => {}); // awaited below; it may fail before
  const gone = new AbortController();
  let answered = false, phase: "service" | "auth" | "open" = "service";
  let banner: string | undefined;
  /** Of whoever takes it: a connection is made for a command. */
  let first: Promise<PreparedChannel> | undefined;

  const transport = new Transport(socket, {
    kind: "client",
    verifyHost(certificate) {
      answered = true;
      return options.verifyHost(certificate);
    },
  }, {
    onReady() {
      // one behind the other, as the server reads them: an answer that is not waited for is a round trip less
      transport.send(Buffer.from([MESSAGE.SERVICE_REQUEST]), str(USERAUTH_SERVICE));
      transport.send(
        authRequest(options.username, options.certificate, options.key, transport.sessionId),
      );
      first = prepareChannel(connection);
      first.catch(() => {}); // whoever takes it is told
    },
    onMessage(payload) {
      if (phase === "open") return connection.receive(payload);
      const { type, fields } = openMessage(payload);
      if (phase === "service") {
        if (type !== MESSAGE.SERVICE_ACCEPT) {
          throw new ProtocolError(`message ${type} instead of a service`);
        }
        phase = "auth";
        return;
      }
      switch (type) {
        case MESSAGE.USERAUTH_BANNER:
          banner ??= firstLine(fields.text());
          return;
        case MESSAGE.USERAUTH_FAILURE:
          return transport.close(new AuthRefusedError(banner), DISCONNECT.NO_MORE_AUTH_METHODS);
        case MESSAGE.USERAUTH_SUCCESS:
          phase = "open";
          transport.authenticated();
          return opened.resolve();
        default:
          throw new ProtocolError(`message ${type} instead of an answer to authentication`);
      }
    },
    onClose(error) {
      const lost = error ?? new Error("the connection was closed");
      opened.reject(signal.aborted || answered ? lost : unanswered(lost, transport.peerSpoke));
      const reason = new ConnectionLostError(lost.message, { cause: lost });
      gone.abort(reason);
      connection.end(reason);
    },
  }, { ...TRANSPORT_LIMITS, ...options.limits });

  const connection = new Connection(transport, {
    onOpen: () => ({
      refuse: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED,
      text: "this client opens channels itself",
    }),
  });

  const onAbort = () => transport.close(abortReason(signal));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal.aborted) onAbort();
    else transport.start();
    await opened.promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }

  const takeFirst = (): Promise<PreparedChannel> | undefined => {
    const taken = first;
    first = undefined;
    return taken;
  };
  return {
    closed: gone.signal,
    async openSubsystem(name, options = {}) {
      const { signal, input } = options, taken = input && takeFirst();
      if (!taken) return await openClientChannel(connection, "subsystem", name, options);
      try {
        return (await abortable(taken, signal)).begin(name, input);
      } catch (error) {
        if (signal?.aborted) first ??= taken;
        throw error;
      }
    },
    prepareChannel: () => takeFirst() ?? prepareChannel(connection),
    get silentMs() {
      return transport.silentMs;
    },
    openExec: (command, options = {}) => openClientChannel(connection, "exec", command, options),
    [Symbol.asyncDispose]() {
      transport.close();
      return Promise.resolve();
    },
  };
}

function unanswered(lost: Error, peerSpoke: boolean): Error {
  if (!peerSpoke) {
    return new Error(`what answers there does not speak SSH 2 (${lost.message})`, { cause: lost });
  }
  return lost instanceof SocketGoneError
    ? new NotAnsweredError(lost.message, { cause: lost })
    : lost;
}

const firstLine = (text: string) =>
  text.slice(0, MAX_BANNER).split(/[\r\n]/, 1)[0]!.replace(/\p{Cc}/gu, "?");
