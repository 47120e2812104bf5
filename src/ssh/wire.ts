/** SSH's own encoding (RFC 4251 §5): the writer concatenates, the reader refuses whatever does not fit. */
import { Buffer } from "node:buffer";

export const u32 = (value: number): Buffer => {
  const out = Buffer.allocUnsafe(4);
  out.writeUInt32BE(value);
  return out;
};

export const u64 = (value: bigint): Buffer => {
  const out = Buffer.allocUnsafe(8);
  out.writeBigUInt64BE(value);
  return out;
};

/** A `string`: four bytes of length and the bytes. Text goes as UTF-8. */
export function str(value: string | Uint8Array): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  const out = Buffer.allocUnsafe(4 + bytes.length);
  out.writeUInt32BE(bytes.length);
  out.set(bytes, 4);
  return out;
}

/** Bytes that are not what they claim to be. Thrown by the readers here; never leaves `ssh` and `ca` unexplained. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

// fatal: a name with invalid UTF-8 must not become one with U+FFFD that equals another
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How far it has read. */
  get at(): number {
    return this.#at;
  }
  get done(): boolean {
    return this.#at === this.#bytes.length;
  }
  u32(): number {
    return this.#take(4).readUInt32BE();
  }
  u64(): bigint {
    return this.#take(8).readBigUInt64BE();
  }
  byte(): number {
    return this.#take(1)[0]!;
  }
  /** A view on the input, not a copy. */
  bytes(): Buffer {
    return this.#take(this.u32());
  }
  text(): string {
    try {
      return decoder.decode(this.bytes());
    } catch (cause) {
      if (cause instanceof MalformedError) throw cause;
      throw new MalformedError("text that is not UTF-8", { cause });
    }
  }
  /** All that is left. */
  rest(): Buffer {
    return this.#take(this.#bytes.length - this.#at);
  }
  /** Refuses what is left over. */
  end(): void {
    if (!this.done) throw new MalformedError("bytes left over");
  }

  #take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new MalformedError("truncated");
    const out = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return out;
  }
}

const MAX_EXCERPT = 64;

/** What a peer wrote, as much of it as a log or a message has room for. */
export const excerpt = (text: string): string =>
  text.length > MAX_EXCERPT ? `${text.slice(0, MAX_EXCERPT)}…` : text;
