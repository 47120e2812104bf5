/**
 * An accepted TCP connection as a node stream, over Deno's own listener. node:net's is no choice: when
 * the process is out of descriptors it stops accepting for ever, and tells nobody (Deno 2.9.6).
 */
import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import type { Conn } from "./transport.ts";

/** What a waiting read holds: little while the peer is silent, more once it fills what it gets. */
const MIN_READ = 4 * 1024, MAX_READ = 64 * 1024;

export class AcceptedConn extends Duplex implements Conn {
  readonly remoteAddress: string;
  readonly #conn: Deno.TcpConn;
  #reading = false;
  #size = MIN_READ;

  constructor(conn: Deno.TcpConn) {
    // as a node:net server's: when the peer has ended, so do we, once what was written is out
    super({ allowHalfOpen: false, readableHighWaterMark: MAX_READ, decodeStrings: true });
    this.#conn = conn;
    this.remoteAddress = conn.remoteAddr.hostname;
    try {
      conn.setNoDelay(true);
      conn.setKeepAlive(true);
    } catch {
      // the peer is gone already; the first read says so
    }
  }

  setNoDelay(on = true): this {
    this.#conn.setNoDelay(on);
    return this;
  }

  override _read(): void {
    if (!this.#reading) void this.#readOn();
  }

  async #readOn(): Promise<void> {
    this.#reading = true;
    try {
      for (;;) {
        const buffer = Buffer.allocUnsafeSlow(this.#size);
        const count = await this.#conn.read(buffer);
        if (count === null) {
          this.push(null);
          return;
        }
        if (count === buffer.length) this.#size = Math.min(this.#size * 4, MAX_READ);
        else if (count < buffer.length / 4) this.#size = Math.max(this.#size / 4, MIN_READ);
        if (!this.push(buffer.subarray(0, count))) return;
      }
    } catch (error) {
      this.destroy(error as Error);
    } finally {
      this.#reading = false;
    }
  }

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#writeAll(bytes).then(() => done(), done);
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  override _final(done: () => void): void {
    this.#conn.closeWrite().then(() => done(), () => done()); // the peer may be gone already
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    try {
      this.#conn.close();
    } catch {
      // closed by the runtime
    }
    done(error);
  }
}
