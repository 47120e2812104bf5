import type { OutputStream } from "../ssh/channel.ts";
import { utf8 } from "../bytes.ts";
import { createEventMaker } from "../client/output_events.ts";
import type { Host } from "../host.ts";

/** Where a run's output goes. A write resolves once it is taken, and rejects with BrokenPipe when nobody reads. */
export interface Sink {
  write(stream: OutputStream, bytes: Uint8Array): Promise<void>;
  /** The stream has ended. */
  end(stream: OutputStream): Promise<void>;
  /** Both streams have one reader: without it nothing of the command can be seen any more. */
  readonly isJoined: boolean;
}

/** Byte for byte. */
export const plainSink = (host: Host): Sink => ({
  write: (stream, bytes) => host[stream].write(bytes),
  end: () => Promise.resolve(),
  isJoined: false,
});

export interface JsonSink extends Sink {
  /** Writes the last line; nothing is taken after it. */
  close(document: unknown): Promise<void>;
}

/** Both streams as JSON lines on stdout. */
export function jsonSink(host: Host): JsonSink {
  const makers = { stdout: createEventMaker("stdout"), stderr: createEventMaker("stderr") };
  let last = Promise.resolve(), closed = false;
  // the streams are read side by side, their lines are written one after the other
  const print = (events: readonly unknown[]): Promise<void> => {
    if (events.length === 0 || closed) return last;
    const lines = events.map((event) => JSON.stringify(event) + "\n").join("");
    last = last.then(() => host.stdout.write(utf8(lines)));
    return last;
  };
  return {
    write: (stream, bytes) => print(makers[stream].push(bytes)),
    end: (stream) => print(makers[stream].end()),
    isJoined: true,
    async close(document) {
      const before = last.catch(() => {}); // told to whoever wrote it
      closed = true;
      await before;
      await host.stdout.write(utf8(JSON.stringify(document) + "\n"));
    },
  };
}
