import { concat } from "../bytes.ts";
import type { ByteSource } from "./channel.ts";

/** Chunks below this are joined: a peer that sends single bytes must not cost a buffer for each. */
const JOIN_BELOW = 4096;
const TAIL_BYTES = 16 * 1024;
/** Most of what one read returns, unless a single chunk is larger. */
const READ_BYTES = 256 * 1024;

/** What arrived on one stream of a channel and was not read yet; the window bounds it. */
export class Inbox implements ByteSource {
  readonly #consumed: (bytes: number) => void;
  #chunks: Uint8Array[] = [];
  /** The buffer behind the last chunk while small ones are joined into it, and how much of it is used. */
  #tail: { readonly buffer: Uint8Array; used: number } | undefined;
  #reader: ((chunk: Uint8Array | null) => void) | undefined;
  #ended = false;
  #discarding = false;
  #drained = Promise.withResolvers<void>();

  /** `consumed` is told of every byte that was read or discarded: the window opens again by as much. */
  constructor(consumed: (bytes: number) => void) {
    this.#consumed = consumed;
  }

  /** Settles when the end was read, or the rest discarded after the end. */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  push(chunk: Uint8Array): void {
    if (this.#ended || chunk.length === 0) return;
    if (this.#discarding) return this.#consumed(chunk.length);
    if (this.#reader) return this.#deliver(chunk);
    if (chunk.length < JOIN_BELOW) this.#join(chunk);
    else {
      this.#tail = undefined;
      this.#chunks.push(chunk);
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#reader) this.#deliver(null);
    else if (this.#discarding) this.#drained.resolve();
  }

  /** Drops what is there and what comes: nobody reads it any more. */
  discard(): void {
    if (this.#discarding) return;
    this.#discarding = true;
    const dropped = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    this.#chunks = [];
    this.#tail = undefined;
    if (dropped > 0) this.#consumed(dropped);
    if (this.#reader) this.#deliver(null);
    if (this.#ended) this.#drained.resolve();
  }

  read(): Promise<Uint8Array | null> {
    if (this.#chunks.length > 0) {
      const chunk = this.#takeSome();
      this.#consumed(chunk.length);
      return Promise.resolve(chunk);
    }
    if (this.#ended || this.#discarding) {
      if (this.#ended) this.#drained.resolve();
      return Promise.resolve(null);
    }
    return new Promise((resolve) => this.#reader = resolve);
  }

  /** What waits, up to `READ_BYTES` in one piece: a slow reader's next write is a large one. */
  #takeSome(): Uint8Array {
    let count = 1, bytes = this.#chunks[0]!.length;
    while (count < this.#chunks.length && bytes + this.#chunks[count]!.length <= READ_BYTES) {
      bytes += this.#chunks[count++]!.length;
    }
    const some = this.#chunks.splice(0, count);
    if (this.#chunks.length === 0) this.#tail = undefined;
    return count === 1 ? some[0]! : concat(some);
  }

  #deliver(chunk: Uint8Array | null): void {
    const reader = this.#reader!;
    this.#reader = undefined;
    if (chunk) this.#consumed(chunk.length);
    else if (this.#ended) this.#drained.resolve();
    reader(chunk);
  }

  #join(chunk: Uint8Array): void {
    if (!this.#tail || this.#tail.used + chunk.length > TAIL_BYTES) {
      this.#tail = { buffer: new Uint8Array(TAIL_BYTES), used: 0 };
      this.#chunks.push(this.#tail.buffer.subarray(0, 0));
    }
    const { buffer, used } = this.#tail;
    const start = this.#chunks.at(-1)!.byteOffset;
    buffer.set(chunk, used);
    this.#tail.used += chunk.length;
    this.#chunks[this.#chunks.length - 1] = buffer.subarray(start, this.#tail.used);
  }
}
