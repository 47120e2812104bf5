/** One client of the local socket, as bytes: Deno's own connection, or one of an inherited listener. */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { FrameStream } from "../ipc/frames.ts";

export interface LocalConn extends FrameStream {
  /** Idempotent; a read that waits ends. */
  close(): void;
}

export interface LocalListener extends AsyncDisposable {
  /** The next client; null once it was closed. */
  accept(): Promise<LocalConn | null>;
  /** Idempotent. */
  close(): void;
}

export const fromDeno = (conn: Deno.UnixConn): LocalConn => ({
  read: (buffer) => conn.read(buffer),
  write: (bytes) => conn.write(bytes),
  close() {
    try {
      conn.close();
    } catch {
      // closed before
    }
  },
});

/** node:net hands out what it has read; here it is taken in the pieces that are asked for. */
export function fromNode(socket: Socket): LocalConn {
  let rest: Buffer = Buffer.alloc(0);
  socket.on("error", () => {}); // read and write say it
  return {
    async read(buffer) {
      while (rest.length === 0) {
        const chunk = socket.read() as Buffer | null;
        if (chunk) rest = chunk;
        else if (socket.readableEnded || socket.destroyed) return null;
        else await readable(socket);
      }
      const count = Math.min(buffer.length, rest.length);
      buffer.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      return count;
    },
    write: (bytes) =>
      new Promise((resolve, reject) =>
        socket.write(Buffer.from(bytes), (error) => error ? reject(error) : resolve(bytes.length))
      ),
    close: () => void socket.destroySoon(),
  };
}

const readable = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      for (const event of EVENTS) socket.off(event, done);
      resolve();
    };
    for (const event of EVENTS) socket.once(event, done);
  });

const EVENTS = ["readable", "end", "close", "error"] as const;
