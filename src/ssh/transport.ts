/**
 * One SSH transport over one socket: bytes in, messages out, and back. It adds what ssh2 lacks: writes
 * joined to one a turn, back-pressure both ways, a byte budget before authentication, keepalive, rekeying
 * by time and volume, strict key exchange as a condition, and an end that is an end (`destroy`).
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { excerpt, Reader, str } from "./wire.ts";
import { DISCONNECT, MESSAGE } from "./messages.ts";
import { createProtocol, type Protocol, type Role } from "./ssh2_protocol.ts";

/** What a connection must be: a socket of node:net is one, and whatever carries bytes as it does. */
export interface ByteStream extends Duplex {
  readonly remoteAddress?: string;
  setNoDelay(on?: boolean): this;
}

export interface TransportLimits {
  /** Bytes that a peer may send before it is authenticated, its version line included. */
  readonly unauthenticatedBytes: number;
  /** How often a silent peer is asked for a sign of life, and how many times it may fail to answer. */
  readonly keepaliveMs: number;
  readonly keepaliveMisses: number;
  /** A key exchange begins after this time or this many bytes in both directions. */
  readonly rekeyMs: number;
  readonly rekeyBytes: number;
}

export const TRANSPORT_LIMITS: TransportLimits = {
  unauthenticatedBytes: 128 * 1024,
  keepaliveMs: 13_000,
  keepaliveMisses: 3,
  rekeyMs: 3_600_000,
  rekeyBytes: 2 ** 30,
};

/** Above this much unsent, writers wait: the peer's window says what it asked for, not what the network took. */
const CONGESTED_BYTES = 512 * 1024;
/** Above this much unsent, nothing more is read: answers to a peer that does not read them would pile up. */
const STOP_READING_BYTES = 4 * 1024 * 1024;
/** One socket write a turn, but never one larger than this. */
const JOIN_BYTES = 256 * 1024;
/** How long a DISCONNECT may take to leave before the socket is destroyed. */
const LINGER_MS = 1000;

export interface TransportEvents {
  /** The first key exchange is done. */
  onReady(): void;
  /** A message of the layers above. Whatever it throws ends the connection as a protocol error. */
  onMessage(payload: Buffer): void;
  /** Once, when the connection is over; undefined where this side closed it in good order. */
  onClose(error: Error | undefined): void;
}

/** The peer broke the protocol: the connection ends with `PROTOCOL_ERROR`. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The socket ended or broke under the connection, and the peer had said nothing of it. */
export class SocketGoneError extends Error {
  override readonly name = "SocketGoneError";
}

export class Transport {
  readonly #socket: ByteStream;
  readonly #events: TransportEvents;
  readonly #limits: TransportLimits;
  readonly #protocol: Protocol;

  #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #flushing = false;
  #waiting: (() => void)[] = [];

  #ready = false;
  #authenticated = false;
  #closed = false;
  #received = 0;
  #sinceKeys = 0;
  #heard = false;
  #heardAt = Date.now();
  #misses = 0;
  #keepalive: ReturnType<typeof setInterval> | undefined;
  #rekey: ReturnType<typeof setTimeout> | undefined;

  /** Owns `socket` from here on; nothing happens before `start`. Await `protocolReady()` first. */
  constructor(
    socket: ByteStream,
    role: Role,
    events: TransportEvents,
    limits: TransportLimits = TRANSPORT_LIMITS,
  ) {
    this.#socket = socket;
    this.#events = events;
    this.#limits = limits;
    this.#protocol = createProtocol(role, {
      onWrite: (bytes) => this.#write(bytes),
      onMessage: (payload) => this.#message(payload),
      onKeys: ({ strict }) => this.#keys(strict),
      onDisconnect: (reason, text) => this.#peerLeft(reason, text),
      onError: (error) => this.#finish(error),
    });
    socket.setNoDelay(true);
    socket.on("drain", () => this.#drain());
    socket.on("end", () => this.#gone("the peer closed the connection"));
    socket.on("error", (error: Error) => this.#gone(error.message, error));
    socket.on("close", () => this.#gone("the connection was closed"));
  }

  /** Reads from here on. A server hands over what it read to find the peer's version line, and has sent its own. */
  start(early?: Uint8Array): void {
    const { destroyed, errored } = this.#socket; // before anybody listened here
    if (destroyed) return this.#gone(errored?.message ?? "the connection was closed", errored);
    if (early) this.#data(early);
    else this.#protocol.start();
    if (this.#closed) return;
    this.#socket.on("data", (bytes: Uint8Array) => this.#data(bytes));
    this.#socket.resume();
  }

  /** Whether the peer has shown that it speaks SSH 2. */
  get peerSpoke(): boolean {
    return this.#protocol.peerSpoke;
  }
  get sessionId(): Buffer {
    return this.#protocol.sessionId;
  }
  /** The most data that the peer may put into one packet. */
  get maxData(): number {
    return this.#protocol.maxData;
  }
  get closed(): boolean {
    return this.#closed;
  }
  /** Whether a writer of bulk data should await `drained()` before it goes on. */
  get congested(): boolean {
    return this.#unsentBytes + this.#socket.writableLength > CONGESTED_BYTES;
  }

  /** Resolves when the socket has taken what was written, or is gone. */
  drained(): Promise<void> {
    if (this.#closed || !this.congested) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Sends one message made of these parts; dropped when the connection is over. */
  send(...parts: readonly Uint8Array[]): void {
    if (!this.#closed) this.#protocol.send(...parts);
  }

  /** Milliseconds since the peer was last heard, by the clock on the wall: a sleep of the machine counts. */
  get silentMs(): number {
    return Math.abs(Date.now() - this.#heardAt);
  }

  /** From here on the byte budget is off, and keepalive and rekeying are on. */
  authenticated(): void {
    this.#authenticated = true;
    this.#keepalive = setInterval(() => this.#checkAlive(), this.#limits.keepaliveMs);
    this.#scheduleRekey();
  }

  /** Says goodbye and ends the connection; `error` is what `onClose` is told. Idempotent. */
  close(error?: Error, reason: number = DISCONNECT.BY_APPLICATION): void {
    if (this.#closed) return;
    try {
      this.#protocol.disconnect(reason);
    } catch { /* no key or no packet to say it with: the close says it */ }
    this.#finish(error);
  }

  #data(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#received += bytes.length;
    if (!this.#authenticated && this.#received > this.#limits.unauthenticatedBytes) {
      return this.#finish(new ProtocolError("too many bytes before authentication"), {
        linger: false,
      });
    }
    try {
      this.#protocol.feed(bytes);
    } catch (error) {
      // at once and without a word: what follows a packet that cannot be one is noise
      return this.#finish(error as Error, { linger: false });
    }
    this.#count(bytes.length);
    if (!this.#closed && this.#unsentBytes + this.#socket.writableLength > STOP_READING_BYTES) {
      this.#socket.pause();
    }
  }

  #message(payload: Buffer): void {
    if (this.#closed) return;
    this.#heard = true;
    this.#heardAt = Date.now();
    if (!this.#ready) {
      return this.close(
        new ProtocolError("a message before the key exchange"),
        DISCONNECT.PROTOCOL_ERROR,
      );
    }
    try {
      this.#events.onMessage(payload);
    } catch (error) {
      this.close(error as Error, DISCONNECT.PROTOCOL_ERROR);
    }
  }

  #keys(strict: boolean): void {
    // without it, packets can be cut from the start of the connection unseen (CVE-2023-48795)
    if (!strict) {
      return this.close(
        new ProtocolError("the peer lacks strict key exchange (CVE-2023-48795); update it"),
        DISCONNECT.PROTOCOL_ERROR,
      );
    }
    this.#sinceKeys = 0;
    if (this.#authenticated) this.#scheduleRekey();
    if (this.#ready) return;
    this.#ready = true;
    this.#events.onReady();
  }

  #gone(message: string, cause?: Error | null): void {
    this.#finish(new SocketGoneError(message, { cause }));
  }

  #peerLeft(reason: number, text: string): void {
    const why = text === "" ? "" : `: ${excerpt(text)}`;
    this.#finish(
      reason === DISCONNECT.BY_APPLICATION
        ? new Error("the peer closed the connection")
        : new Error(`the peer disconnected (${reason})${why}`),
    );
  }

  #write(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#unsent.push(bytes);
    this.#unsentBytes += bytes.length;
    this.#count(bytes.length);
    if (this.#unsentBytes >= JOIN_BYTES) this.#flush();
    else if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#unsentBytes === 0) return;
    const bytes = this.#unsent.length === 1
      ? this.#unsent[0]!
      : Buffer.concat(this.#unsent, this.#unsentBytes);
    this.#unsent = [];
    this.#unsentBytes = 0;
    this.#socket.write(bytes);
  }

  #drain(): void {
    if (this.congested) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  #count(bytes: number): void {
    this.#sinceKeys += bytes;
    if (this.#sinceKeys >= this.#limits.rekeyBytes && this.#authenticated) {
      this.#sinceKeys = 0;
      // not here: ssh2 may be in the middle of writing a packet
      queueMicrotask(() => this.#startRekey());
    }
  }

  #scheduleRekey(): void {
    clearTimeout(this.#rekey);
    this.#rekey = setTimeout(() => {
      this.#scheduleRekey();
      this.#startRekey();
    }, this.#limits.rekeyMs);
  }

  #startRekey(): void {
    if (!this.#closed) this.#protocol.rekey();
  }

  #checkAlive(): void {
    if (this.#heard) this.#misses = 0;
    else if (++this.#misses >= this.#limits.keepaliveMisses) {
      const seconds = this.#limits.keepaliveMs * this.#misses / 1000;
      return this.#finish(new Error(`no answer for ${Math.round(seconds)} s`));
    }
    this.#heard = false;
    this.send(KEEPALIVE);
  }

  /** With `linger`, what was written may leave within a second; nothing is read any more in any case. */
  #finish(error: Error | undefined, { linger } = { linger: true }): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#keepalive);
    clearTimeout(this.#rekey);
    this.#flush();
    this.#protocol.free();
    const socket = this.#socket;
    socket.removeAllListeners("data");
    socket.pause();
    if (linger && socket.writableLength > 0 && !socket.destroyed) {
      const timer = setTimeout(() => socket.destroy(), LINGER_MS);
      socket.end(() => {
        clearTimeout(timer);
        socket.destroy();
      });
    } else socket.destroy();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
    this.#events.onClose(error);
  }
}

/** OpenSSH's form, which every server answers, if only with a failure. */
const KEEPALIVE = Buffer.concat([
  Buffer.from([MESSAGE.GLOBAL_REQUEST]),
  str("keepalive@openssh.com"),
  Buffer.from([1]),
]);

/** The type and the fields of a message. */
export function openMessage(payload: Buffer): { type: number; fields: Reader } {
  return { type: payload[0]!, fields: new Reader(payload.subarray(1)) };
}
