/**
 * Output as events for programs (docs/protocol.md › /v1/exec, `run --json`): text where the bytes are
 * UTF-8, base64 where they are not. A character is never split between two events.
 */
import type { OutputStream } from "../ssh/channel.ts";
import { concat, toBase64 } from "../bytes.ts";

export interface OutputEvent {
  readonly stream: OutputStream;
  readonly data: string;
  readonly encoding?: "base64";
}

export interface EventMaker {
  /** The events of one more chunk; what begins a character and does not end it waits for the next. */
  push(chunk: Uint8Array): OutputEvent[];
  /** What still waited, at the end of the stream. */
  end(): OutputEvent[];
}

export function createEventMaker(stream: OutputStream): EventMaker {
  let waiting: Uint8Array = new Uint8Array();
  const event = (bytes: Uint8Array): OutputEvent[] => {
    if (bytes.length === 0) return [];
    try {
      return [{ stream, data: decoder.decode(bytes) }];
    } catch {
      return [{ stream, data: toBase64(bytes), encoding: "base64" }];
    }
  };
  return {
    push(chunk) {
      const bytes = waiting.length === 0 ? chunk : concat([waiting, chunk]);
      const whole = bytes.length - beginningOfCharacter(bytes);
      waiting = bytes.slice(whole);
      return event(bytes.subarray(0, whole));
    },
    end() {
      const last = event(waiting);
      waiting = new Uint8Array();
      return last;
    },
  };
}

// fatal, so that other bytes are told from text; a byte order mark is text like any other
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** How many bytes at the end of `bytes` begin a character that needs more (RFC 3629). */
function beginningOfCharacter(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue; // a later byte of a character
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}
