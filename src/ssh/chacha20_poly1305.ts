/**
 * chacha20-poly1305@openssh.com (OpenSSH's PROTOCOL.chacha20poly1305) in place of ssh2's own: that one never
 * finishes the three OpenSSL contexts it makes a packet, and Deno frees only finished ones: 800 bytes a
 * packet for the life of the process. This one makes two, finishes both, and hashes without copies to the
 * stack. Same fields and calls as ssh2's classes, since ssh2's protocol holds it (ssh2_protocol.ts).
 */
import { Buffer } from "node:buffer";
import { createCipheriv, randomFillSync, timingSafeEqual } from "node:crypto";
import createPoly1305 from "ssh2/lib/protocol/crypto/poly1305.js";

const KEY_BYTES = 32, TAG_BYTES = 16, LENGTH_BYTES = 4, BLOCK = 8;
/** What a packet may have: twice the data that is usual, and room for its head. */
const MAX_PACKET = 70_000;
/** The first block of a packet's key stream is for Poly1305's key; the packet begins with the second. */
const FIRST_BLOCK = new Uint8Array(64);

interface Poly1305 {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _poly1305_auth(
    out: number,
    head: number,
    headLength: number,
    data: number,
    length: number,
    key: number,
  ): void;
}

/** The hash's place in the wasm module's memory: one packet at a time passes through it. */
interface Hasher {
  readonly wasm: Poly1305;
  readonly out: number;
  readonly key: number;
  readonly data: number;
}

let hasher: Hasher | undefined;

/** Resolves when the cipher can be used. */
export async function cipherReady(): Promise<void> {
  if (hasher) return;
  const wasm: Poly1305 = await createPoly1305();
  hasher = {
    wasm,
    out: wasm._malloc(TAG_BYTES),
    key: wasm._malloc(KEY_BYTES),
    data: wasm._malloc(LENGTH_BYTES + MAX_PACKET),
  };
}

/** Poly1305 over the encrypted length and the encrypted packet. */
function tagOf(length: Uint8Array, body: Uint8Array, key: Uint8Array): Buffer {
  const { wasm, out, key: keyAt, data } = hasher!;
  const heap = wasm.HEAPU8;
  heap.set(key, keyAt);
  heap.set(length, data);
  heap.set(body, data + LENGTH_BYTES);
  wasm._poly1305_auth(out, data, LENGTH_BYTES, data + LENGTH_BYTES, body.length, keyAt);
  return Buffer.from(heap.slice(out, out + TAG_BYTES));
}

/** OpenSSL's chacha20 takes 4 bytes of block counter and 12 of nonce; ours is the packet's number, big endian, at the end. */
function nonce(sequence: number): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeUInt32BE(sequence, 12);
  return iv;
}

/** The stream of one key and packet. Always finished, or Deno keeps it for ever. */
function chacha20<T>(
  key: Uint8Array,
  sequence: number,
  use: (update: (bytes: Uint8Array) => Buffer) => T,
): T {
  const stream = createCipheriv("chacha20", key, nonce(sequence));
  try {
    return use((bytes) => stream.update(bytes));
  } finally {
    stream.final();
  }
}

export interface CipherKeys {
  /** For the packet. */
  readonly main: Uint8Array;
  /** For its length. */
  readonly length: Uint8Array;
}

/** What ssh2 calls to send. */
export class ChaChaPolyCipher {
  outSeqno: number;
  readonly #keys: CipherKeys;
  readonly #write: (bytes: Uint8Array) => void;
  #packet: Buffer = Buffer.alloc(0);
  #freed = false;

  constructor(keys: CipherKeys, sequence: number, write: (bytes: Uint8Array) => void) {
    this.#keys = keys;
    this.outSeqno = sequence;
    this.#write = write;
  }

  free(): void {
    this.#freed = true;
  }

  /**
   * Room for a payload at offset 5, length and padding filled in. The same memory each time: ssh2
   * encrypts a packet before it asks for the next.
   */
  allocPacket(payloadLength: number): Buffer {
    const unpadded = 1 + payloadLength;
    let padding = BLOCK - unpadded % BLOCK;
    if (padding < 4) padding += BLOCK;
    const length = LENGTH_BYTES + unpadded + padding;
    const packet = length <= this.#packet.length
      ? this.#packet.subarray(0, length)
      : this.#packet = Buffer.allocUnsafe(length);
    packet.writeUInt32BE(unpadded + padding);
    packet[LENGTH_BYTES] = padding;
    randomFillSync(packet, LENGTH_BYTES + unpadded, padding);
    return packet;
  }

  encrypt(packet: Buffer): void {
    if (this.#freed) return;
    const sequence = this.outSeqno;
    const length = chacha20(
      this.#keys.length,
      sequence,
      (update) => update(packet.subarray(0, LENGTH_BYTES)),
    );
    const { key, body } = chacha20(this.#keys.main, sequence, (update) => ({
      key: update(FIRST_BLOCK).subarray(0, KEY_BYTES),
      body: update(packet.subarray(LENGTH_BYTES)),
    }));
    this.#write(length);
    this.#write(body);
    this.#write(tagOf(length, body, key));
    this.outSeqno = sequence + 1 >>> 0;
  }
}

/** What ssh2 calls with what arrived. */
export class ChaChaPolyDecipher {
  inSeqno: number;
  /** Replaced by ssh2 while a key exchange runs. Its result, where it is not undefined, ends `decrypt`. */
  _onPayload: (payload: Buffer) => unknown;
  readonly #keys: CipherKeys;
  /** The encrypted length, then packet and tag, as far as they are here. */
  readonly #head = Buffer.alloc(LENGTH_BYTES);
  #headBytes = 0;
  #wanted = 0;
  #rest: Buffer | undefined;
  #restBytes = 0;

  constructor(keys: CipherKeys, sequence: number, onPayload: (payload: Buffer) => unknown) {
    this.#keys = keys;
    this.inSeqno = sequence;
    this._onPayload = onPayload;
  }

  free(): void {}

  /** Takes `bytes[at, end)`. Throws for whatever is not a packet of this peer. */
  decrypt(bytes: Buffer, at: number, end: number): number | undefined {
    while (at < end) {
      if (this.#headBytes < LENGTH_BYTES) {
        const count = Math.min(LENGTH_BYTES - this.#headBytes, end - at);
        this.#head.set(bytes.subarray(at, at + count), this.#headBytes);
        this.#headBytes += count;
        at += count;
        if (this.#headBytes < LENGTH_BYTES) return;
        this.#wanted = this.#readLength() + TAG_BYTES;
      }
      const sealed = this.#take(bytes, at, end);
      at += this.#taken;
      if (!sealed) return;
      const payload = this.#open(sealed);
      this.#headBytes = 0;
      this.#restBytes = 0;
      this.#rest = undefined;
      this.inSeqno = this.inSeqno + 1 >>> 0;
      const result = this._onPayload(payload);
      if (result !== undefined) return result === false ? at : result as number;
    }
  }

  #taken = 0;

  /** Packet and tag, once all of them are here: a view where they came in one piece. */
  #take(bytes: Buffer, at: number, end: number): Buffer | undefined {
    const count = Math.min(this.#wanted - this.#restBytes, end - at);
    this.#taken = count;
    if (count === this.#wanted) return bytes.subarray(at, at + count);
    this.#rest ??= Buffer.allocUnsafe(this.#wanted);
    this.#rest.set(bytes.subarray(at, at + count), this.#restBytes);
    this.#restBytes += count;
    return this.#restBytes === this.#wanted ? this.#rest : undefined;
  }

  #readLength(): number {
    const plain = chacha20(this.#keys.length, this.inSeqno, (update) => update(this.#head));
    const length = plain.readUInt32BE();
    if (length > MAX_PACKET || length < BLOCK || length % BLOCK !== 0) {
      throw new Error("Bad packet length");
    }
    return length;
  }

  #open(sealed: Buffer): Buffer {
    const body = sealed.subarray(0, -TAG_BYTES), tag = sealed.subarray(-TAG_BYTES);
    const packet = chacha20(this.#keys.main, this.inSeqno, (update) => {
      const key = update(FIRST_BLOCK).subarray(0, KEY_BYTES);
      if (!timingSafeEqual(tagOf(this.#head, body, key), tag)) throw new Error("Invalid MAC");
      return update(body);
    });
    const padding = packet[0]!;
    if (padding < 4 || padding >= packet.length) throw new Error("Bad padding");
    return packet.subarray(1, packet.length - padding);
  }
}
