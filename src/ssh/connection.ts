/**
 * Channels over one transport (RFC 4254 §5 and §6), for both ends: windows, order of writes, end of file,
 * close. What a server accepts and what a client asks is decided by those who hold a `Channel`.
 */
import { Buffer } from "node:buffer";
import type { OutputStream } from "./channel.ts";
import { Inbox } from "./inbox.ts";
import { EXTENDED_STDERR, MESSAGE, OPEN_FAILURE } from "./messages.ts";
import { openMessage, ProtocolError, type Transport } from "./transport.ts";
import { Reader, str, u32 } from "./wire.ts";

/**
 * How much a peer may send ahead of what was read: a bound on memory. It begins small and doubles while
 * a whole window is read within a second, up to what fills a line of 80 MB/s at 50 ms: what a command
 * never reads costs little, what one reads fast is not slowed down.
 */
const FIRST_WINDOW = 256 * 1024, MAX_WINDOW = 4 * 1024 * 1024;
const GROWTH_MS = 1000;
/** The most data that we put into one packet, whatever the peer would take. */
const MAX_SENT = 64 * 1024;
const MAX_U32 = 0xffffffff;
const DATA = Buffer.from([MESSAGE.CHANNEL_DATA]);
const EXTENDED = Buffer.from([MESSAGE.CHANNEL_EXTENDED_DATA]);

export interface ConnectionEvents {
  /** The peer asks for a channel; returns its handlers, or why not. A client's connection refuses all. */
  onOpen(
    type: string,
  ): { readonly accept: ChannelEvents } | { readonly refuse: number; readonly text: string };
}

export interface ChannelEvents {
  /** A channel request; true where it is granted. `fields` are what follows its type. */
  onRequest(channel: Channel, type: string, fields: Reader): boolean;
}

/** The far end would not open a channel. */
export class ChannelRefusedError extends Error {
  override readonly name = "ChannelRefusedError";
}

export class Connection {
  readonly #transport: Transport;
  readonly #events: ConnectionEvents;
  readonly #channels = new Map<number, Channel>();
  readonly #opening = new Map<
    number,
    { events: ChannelEvents; resolve(channel: Channel): void; reject(error: Error): void }
  >();
  #nextId = 0;
  #ended: Error | undefined;

  constructor(transport: Transport, events: ConnectionEvents) {
    this.#transport = transport;
    this.#events = events;
  }

  /** Open channels, those half closed included. */
  get size(): number {
    return this.#channels.size;
  }

  /** Asks for a session channel. Rejects with ChannelRefusedError, or when the connection ends. */
  openSession(events: ChannelEvents): Promise<Channel> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#freeId();
    return new Promise((resolve, reject) => {
      this.#opening.set(id, { events, resolve, reject });
      this.#transport.send(
        Buffer.from([MESSAGE.CHANNEL_OPEN]),
        str("session"),
        u32(id),
        u32(FIRST_WINDOW),
        u32(this.#transport.maxData),
      );
    });
  }

  /** Takes a message of the connection protocol; throws ProtocolError or MalformedError to end the connection. */
  receive(payload: Buffer): void {
    const { type, fields } = openMessage(payload);
    switch (type) {
      case MESSAGE.CHANNEL_DATA: {
        const channel = this.#channel(fields.u32()), bytes = fields.bytes();
        fields.end();
        return channel.receive("stdout", bytes);
      }
      case MESSAGE.CHANNEL_EXTENDED_DATA: {
        const channel = this.#channel(fields.u32()), kind = fields.u32(), bytes = fields.bytes();
        fields.end();
        return channel.receive(kind === EXTENDED_STDERR ? "stderr" : undefined, bytes);
      }
      case MESSAGE.CHANNEL_WINDOW_ADJUST:
        return this.#channel(fields.u32()).grant(fields.u32());
      case MESSAGE.CHANNEL_REQUEST:
        return this.#request(fields);
      case MESSAGE.CHANNEL_SUCCESS:
        return this.#channel(fields.u32()).answer(true);
      case MESSAGE.CHANNEL_FAILURE:
        return this.#channel(fields.u32()).answer(false);
      case MESSAGE.CHANNEL_EOF:
        return this.#channel(fields.u32()).receiveEof();
      case MESSAGE.CHANNEL_CLOSE:
        return this.#channel(fields.u32()).receiveClose();
      case MESSAGE.CHANNEL_OPEN:
        return this.#open(fields);
      case MESSAGE.CHANNEL_OPEN_CONFIRMATION:
        return this.#confirmed(fields);
      case MESSAGE.CHANNEL_OPEN_FAILURE:
        return this.#refused(fields);
      case MESSAGE.GLOBAL_REQUEST: {
        fields.text();
        const wantReply = fields.byte() !== 0;
        // none is granted; a keepalive is answered by the failure as well as by a success
        if (wantReply) this.#transport.send(Buffer.from([MESSAGE.REQUEST_FAILURE]));
        return;
      }
      default: // answers to keepalives, and what this version does not know
    }
  }

  /** Ends every channel: the connection is gone. */
  end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#opening.values()) reject(error);
    this.#opening.clear();
    for (const channel of this.#channels.values()) channel.lose(error);
    this.#channels.clear();
  }

  #channel(id: number): Channel {
    const channel = this.#channels.get(id);
    if (!channel) throw new ProtocolError(`channel ${id} does not exist`);
    return channel;
  }

  #freeId(): number {
    let id = this.#nextId;
    while (this.#channels.has(id) || this.#opening.has(id)) id = (id + 1) % MAX_U32;
    this.#nextId = (id + 1) % MAX_U32;
    return id;
  }

  #create(
    id: number,
    remoteId: number,
    window: number,
    maxData: number,
    events: ChannelEvents,
  ): Channel {
    if (maxData < 1) throw new ProtocolError("a channel without room for data");
    const channel = new Channel(
      this.#transport,
      id,
      remoteId,
      window,
      Math.min(maxData, MAX_SENT),
      events,
      () => this.#channels.delete(id),
    );
    this.#channels.set(id, channel);
    return channel;
  }

  #open(fields: Reader): void {
    const type = fields.text(),
      remoteId = fields.u32(),
      window = fields.u32(),
      maxData = fields.u32();
    const decision = this.#events.onOpen(type);
    if ("refuse" in decision) {
      this.#transport.send(
        Buffer.from([MESSAGE.CHANNEL_OPEN_FAILURE]),
        u32(remoteId),
        u32(decision.refuse),
        str(decision.text),
        str(""),
      );
      return;
    }
    const id = this.#freeId();
    this.#create(id, remoteId, window, maxData, decision.accept);
    this.#transport.send(
      Buffer.from([MESSAGE.CHANNEL_OPEN_CONFIRMATION]),
      u32(remoteId),
      u32(id),
      u32(FIRST_WINDOW),
      u32(this.#transport.maxData),
    );
  }

  #confirmed(fields: Reader): void {
    const id = fields.u32(), opening = this.#takeOpening(id);
    const remoteId = fields.u32(), window = fields.u32(), maxData = fields.u32();
    opening.resolve(this.#create(id, remoteId, window, maxData, opening.events));
  }

  #refused(fields: Reader): void {
    const opening = this.#takeOpening(fields.u32());
    const reason = fields.u32(), text = fields.text();
    const why = reason === OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED
      ? "not allowed"
      : `reason ${reason}`;
    opening.reject(new ChannelRefusedError(`the far end opened no channel: ${text || why}`));
  }

  #takeOpening(id: number) {
    const opening = this.#opening.get(id);
    if (!opening) throw new ProtocolError(`channel ${id} was not asked for`);
    this.#opening.delete(id);
    return opening;
  }

  #request(fields: Reader): void {
    const channel = this.#channel(fields.u32()),
      type = fields.text(),
      wantReply = fields.byte() !== 0;
    channel.receiveRequest(type, fields, wantReply);
  }
}

/** One channel. Both streams of input exist on both ends; a server's peer sends no extended data. */
export class Channel {
  readonly #transport: Transport;
  readonly #localId: number;
  readonly #remote: Buffer;
  readonly #maxData: number;
  readonly #events: ChannelEvents;
  readonly #forget: () => void;
  readonly #closed = Promise.withResolvers<Error | undefined>();

  /** What the peer may still send, of how much in all, and what was read but not granted again. */
  #window = FIRST_WINDOW;
  #size = FIRST_WINDOW;
  #read = 0;
  /** What was read since the window last grew, and when that was. */
  #readOfSize = 0;
  #grownAt = performance.now();
  /** What the peer still takes. */
  #room: number;
  #roomWaiting: (() => void) | undefined;
  #writing: Promise<boolean> = Promise.resolve(true);
  #answers: ((granted: boolean) => void)[] = [];
  #sentEof = false;
  #sentClose = false;
  #gone = false;

  readonly stdout = new Inbox((bytes) => this.#consumed(bytes));
  readonly stderr = new Inbox((bytes) => this.#consumed(bytes));

  constructor(
    transport: Transport,
    localId: number,
    remoteId: number,
    room: number,
    maxData: number,
    events: ChannelEvents,
    forget: () => void,
  ) {
    this.#transport = transport;
    this.#localId = localId;
    this.#remote = u32(remoteId);
    this.#room = room;
    this.#maxData = maxData;
    this.#events = events;
    this.#forget = forget;
  }

  /** Settles when the peer closed, with the error when the connection was lost instead. Never rejects. */
  get closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }
  /** Whether this side may still send data. */
  get writable(): boolean {
    return !this.#sentEof && !this.#sentClose && !this.#gone;
  }

  /** Writes in order of the calls; false when the bytes, or some of them, were dropped. */
  write(stream: OutputStream, bytes: Uint8Array): Promise<boolean> {
    return this.#writing = this.#writing.then(() => this.#writeAll(stream, bytes));
  }

  /** After what was written. */
  async sendEof(): Promise<void> {
    await this.#writing;
    this.#eof();
  }

  /** The end, after what was written: these requests, EOF and close, which leave together. */
  async finish(requests: () => void): Promise<void> {
    await this.#writing;
    requests();
    this.#eof();
    this.stdout.discard();
    this.sendClose();
  }

  #eof(): void {
    if (!this.writable) return;
    this.#sentEof = true;
    this.#transport.send(Buffer.from([MESSAGE.CHANNEL_EOF]), this.#remote);
  }

  /** At once; a write that waits is dropped. */
  sendClose(): void {
    if (this.#sentClose || this.#gone) return;
    this.#sentClose = true;
    this.#wakeWriter();
    this.#transport.send(Buffer.from([MESSAGE.CHANNEL_CLOSE]), this.#remote);
  }

  /** A channel request that wants no reply. */
  sendRequest(type: string, ...fields: Uint8Array[]): void {
    if (this.#sentClose || this.#gone) return;
    this.#transport.send(
      Buffer.from([MESSAGE.CHANNEL_REQUEST]),
      this.#remote,
      str(type),
      Buffer.from([0]),
      ...fields,
    );
  }

  /** A channel request and its answer; false also when the channel ends first. */
  ask(type: string, ...fields: Uint8Array[]): Promise<boolean> {
    if (this.#sentClose || this.#gone) return Promise.resolve(false);
    this.#transport.send(
      Buffer.from([MESSAGE.CHANNEL_REQUEST]),
      this.#remote,
      str(type),
      Buffer.from([1]),
      ...fields,
    );
    return new Promise((resolve) => this.#answers.push(resolve));
  }

  receive(stream: OutputStream | undefined, bytes: Uint8Array): void {
    if (bytes.length > this.#window) throw new ProtocolError("more data than the window allows");
    if (bytes.length > this.#transport.maxData) {
      throw new ProtocolError("more data than a packet may hold");
    }
    this.#window -= bytes.length;
    if (stream && !this.#sentClose) this[stream].push(bytes);
    else this.#consumed(bytes.length);
  }

  receiveRequest(type: string, fields: Reader, wantReply: boolean): void {
    const granted = this.#events.onRequest(this, type, fields);
    if (!wantReply || this.#sentClose) return;
    this.#transport.send(
      Buffer.from([granted ? MESSAGE.CHANNEL_SUCCESS : MESSAGE.CHANNEL_FAILURE]),
      this.#remote,
    );
  }

  receiveEof(): void {
    this.stdout.end();
    this.stderr.end();
  }

  receiveClose(): void {
    this.sendClose();
    this.#end(undefined);
    this.#forget();
  }

  grant(bytes: number): void {
    this.#room = Math.min(this.#room + bytes, MAX_U32);
    this.#wakeWriter();
  }

  answer(granted: boolean): void {
    const waiting = this.#answers.shift();
    if (!waiting) throw new ProtocolError("an answer to no request");
    waiting(granted);
  }

  /** The connection is gone. */
  lose(error: Error): void {
    this.#end(error);
  }

  #end(error: Error | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.stdout.end();
    this.stderr.end();
    this.#wakeWriter();
    for (const waiting of this.#answers.splice(0)) waiting(false);
    this.#closed.resolve(error);
  }

  async #writeAll(stream: OutputStream, bytes: Uint8Array): Promise<boolean> {
    for (let at = 0; at < bytes.length;) {
      if (!this.writable) return false;
      if (this.#room === 0) {
        await new Promise<void>((resolve) => this.#roomWaiting = resolve);
        continue;
      }
      const part = bytes.subarray(at, at + Math.min(this.#room, this.#maxData));
      if (stream === "stdout") this.#transport.send(DATA, this.#remote, u32(part.length), part);
      else {this.#transport.send(
          EXTENDED,
          this.#remote,
          u32(EXTENDED_STDERR),
          u32(part.length),
          part,
        );}
      this.#room -= part.length;
      at += part.length;
      if (this.#transport.congested) await this.#transport.drained();
    }
    return this.writable;
  }

  #wakeWriter(): void {
    this.#roomWaiting?.();
    this.#roomWaiting = undefined;
  }

  #consumed(bytes: number): void {
    this.#read += bytes;
    this.#readOfSize += bytes;
    if (this.#readOfSize >= this.#size) this.#grow();
    if (this.#read < this.#size / 4 || this.#sentClose || this.#gone) return;
    this.#window += this.#read;
    this.#transport.send(
      Buffer.from([MESSAGE.CHANNEL_WINDOW_ADJUST]),
      this.#remote,
      u32(this.#read),
    );
    this.#read = 0;
  }

  #grow(): void {
    const now = performance.now(), fast = now - this.#grownAt < GROWTH_MS;
    this.#grownAt = now;
    this.#readOfSize = 0;
    if (!fast || this.#size >= MAX_WINDOW) return;
    this.#read += this.#size; // granted with what was read
    this.#size *= 2;
  }
}
