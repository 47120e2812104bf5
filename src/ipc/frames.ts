/**
 * Frames on the local socket (docs/protocol.md › Local socket): a length, a kind, and so many bytes.
 * The hot path imports this, so it is free of libraries.
 */
import { concat } from "../bytes.ts";

/** What a frame is. Below 32 it is the CLI's to send, from there on the daemon's. */
export const KIND = {
  /** JSON, `Call`: a command for a node. Once a connection. */
  CALL: 1,
  /** JSON, `Ask`: something about the daemon itself. Once a connection, instead of a call. */
  ASK: 2,
  /** Bytes of standard input; within the window. */
  INPUT: 3,
  INPUT_END: 4,
  /** A signal's name without SIG. */
  SIGNAL: 5,
  /** Columns and rows, a u32 each. */
  RESIZE: 6,
  /** Nobody reads standard output any more. */
  OUTPUT_CLOSED: 7,
  /** So many bytes of a stream were read: 1 for stdout or 2 for stderr, and a u32. */
  OUTPUT_READ: 8,

  /** JSON, `Hello`: the daemon's first word, before it was asked anything. */
  HELLO: 32,
  /** The call was read and is carried out from here on: the daemon alone knows what becomes of it. */
  ACCEPTED: 33,
  /** JSON, `Started`: the node was asked to run it. */
  STARTED: 34,
  STDOUT: 35,
  STDERR: 36,
  /** A line of text on how far the node is; empty once that is over. */
  PROGRESS: 37,
  /** JSON, `Outcome` of src/api/run.ts: how the run ended. The last frame. */
  END: 38,
  /** JSON, `Failure`: nothing was started. The last frame. */
  FAILED: 39,
  /** So many bytes of standard input were taken: a u32. */
  INPUT_READ: 40,
  /** The command takes no more input. */
  INPUT_CLOSED: 41,
  /** JSON, `Answer`: to an ask. */
  ANSWER: 42,
} as const;

export type Kind = (typeof KIND)[keyof typeof KIND];

/** Of a frame's payload, in bytes. */
export const MAX_FRAME = 1024 * 1024;
/** How much of a stream may be under way without having been read. */
export const WINDOW = 1024 * 1024;
/** What one frame of a stream holds at most. */
export const MAX_DATA = 256 * 1024;

const HEADER = 5;

export interface Frame {
  readonly kind: number;
  /** Valid until the next frame is read. */
  readonly payload: Uint8Array;
}

/** The other end does not speak as it should. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

export interface FrameStream {
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
}

/** Frames from a stream, one a call. Null at its end; FrameError where it ends inside a frame, or a frame is too long. */
export class FrameReader {
  readonly #stream: Pick<FrameStream, "read">;
  #buffer = new Uint8Array(64 * 1024);
  #start = 0;
  #end = 0;

  constructor(stream: Pick<FrameStream, "read">) {
    this.#stream = stream;
  }

  async next(): Promise<Frame | null> {
    for (;;) {
      const frame = this.#take();
      if (frame) return frame;
      const count = await this.#stream.read(this.#buffer.subarray(this.#end));
      if (count === null) {
        if (this.#start === this.#end) return null;
        throw new FrameError("the stream ended inside a frame");
      }
      this.#end += count;
    }
  }

  /** The frame that is there in whole; else room is made for more of it. */
  #take(): Frame | undefined {
    const waiting = this.#end - this.#start;
    let wanted = HEADER;
    if (waiting >= HEADER) {
      const length = readU32(this.#buffer, this.#start);
      if (length > MAX_FRAME) throw new FrameError(`a frame of ${length} bytes`);
      wanted += length;
      if (waiting >= wanted) {
        const start = this.#start + HEADER;
        this.#start += wanted;
        return {
          kind: this.#buffer[start - 1]!,
          payload: this.#buffer.subarray(start, this.#start),
        };
      }
    }
    this.#makeRoom(wanted);
    return undefined;
  }

  #makeRoom(wanted: number): void {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    if (this.#start + wanted <= this.#buffer.length && this.#end < this.#buffer.length) return;
    const waiting = this.#buffer.subarray(this.#start, this.#end);
    if (wanted <= this.#buffer.length) this.#buffer.copyWithin(0, this.#start, this.#end);
    else {
      const larger = new Uint8Array(Math.max(wanted, 2 * this.#buffer.length));
      larger.set(waiting);
      this.#buffer = larger;
    }
    this.#start = 0;
    this.#end = waiting.length;
  }
}

/** More than this is not joined with what waits beside it. */
const JOIN_BELOW = 64 * 1024;

/** Frames into a stream, in the order of the calls; what is sent in one turn leaves in one write. */
export class FrameWriter {
  readonly #stream: Pick<FrameStream, "write">;
  #waiting: Uint8Array[] = [];
  #writing: Promise<void> | undefined;
  #failed = false;

  constructor(stream: Pick<FrameStream, "write">) {
    this.#stream = stream;
  }

  /** `payload` is copied. Bounded by the windows of the streams, so nobody has to wait for it. */
  send(kind: Kind, payload: Uint8Array = EMPTY): void {
    if (this.#failed) return;
    const frame = new Uint8Array(HEADER + payload.length);
    writeU32(frame, 0, payload.length);
    frame[HEADER - 1] = kind;
    frame.set(payload, HEADER);
    this.#waiting.push(frame);
    this.#writing ??= this.#write();
  }

  sendJson(kind: Kind, value: unknown): void {
    this.send(kind, encoder.encode(JSON.stringify(value)));
  }

  /** Resolves when what was sent in this turn was handed to the system. */
  begun(): Promise<void> {
    return Promise.resolve().then(() => {});
  }

  /** Resolves when what was sent has left, or cannot any more. */
  flush(): Promise<void> {
    return this.#writing ?? Promise.resolve();
  }

  async #write(): Promise<void> {
    await Promise.resolve(); // the rest of this turn's
    try {
      while (this.#waiting.length > 0) {
        const bytes = this.#next();
        for (let at = 0; at < bytes.length;) at += await this.#stream.write(bytes.subarray(at));
      }
    } catch {
      // the reader of the same stream finds out that it is gone
      this.#failed = true;
      this.#waiting = [];
    }
    this.#writing = undefined;
  }

  #next(): Uint8Array {
    let count = 1, length = this.#waiting[0]!.length;
    while (count < this.#waiting.length && length + this.#waiting[count]!.length <= JOIN_BELOW) {
      length += this.#waiting[count++]!.length;
    }
    const taken = this.#waiting.splice(0, count);
    return count === 1 ? taken[0]! : concat(taken);
  }
}

const EMPTY = new Uint8Array(), encoder = new TextEncoder(), decoder = new TextDecoder();

/** Undefined where it is no JSON object. */
export function readJson(payload: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(decoder.decode(payload));
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as Record<string, unknown>
      : undefined;
  } catch {
    return undefined;
  }
}

export const readU32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Numbers as they stand in a payload. */
export function u32s(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  values.forEach((value, i) => writeU32(bytes, 4 * i, value));
  return bytes;
}
