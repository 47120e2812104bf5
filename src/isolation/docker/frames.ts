/** The engine's stream of a command without a terminal: frames that say to which output their bytes belong. */
import type { Wire } from "./hijack.ts";

/** Takes bytes of one output. The stream is read on once it resolves. */
export type Take = (bytes: Uint8Array) => Promise<void> | void;

const HEADER = 8, STDERR = 2;

/** Resolves at the end of the stream, or where it is no stream of frames any more. */
export async function readFrames(wire: Wire, stdout: Take, stderr: Take): Promise<void> {
  const header = new Uint8Array(HEADER);
  let have = 0, left = 0, take = stdout;
  for (let bytes; (bytes = await wire.read());) {
    for (let at = 0; at < bytes.length;) {
      if (left === 0) {
        const part = bytes.subarray(at, at + HEADER - have);
        header.set(part, have);
        have += part.length;
        at += part.length;
        if (have < HEADER) continue;
        have = 0;
        if (header[0]! > STDERR) return;
        left = new DataView(header.buffer).getUint32(4);
        take = header[0] === STDERR ? stderr : stdout;
        continue;
      }
      const part = bytes.subarray(at, at + left);
      at += part.length;
      left -= part.length;
      await take(part);
    }
  }
}
