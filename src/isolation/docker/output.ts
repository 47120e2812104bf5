/**
 * One output of a command in a container, as its reader sees it: to the mark that our wrapper puts behind
 * the command's last byte, whoever in the background still holds the stream, or to the end of the stream.
 */
import { concat, findBytes, text } from "../../bytes.ts";

export interface MarkedOutput {
  readonly stream: ReadableStream<Uint8Array>;
  /** Resolves once what is kept for the reader is little enough. */
  push(bytes: Uint8Array): Promise<void> | undefined;
  /** The stream has ended. */
  end(): void;
  /** Nobody reads any more: what is kept is dropped, what comes is too. */
  drop(): void;
  /** The exit code behind the mark; undefined where the stream ended without. */
  readonly ended: Promise<number | undefined>;
}

/** Enough to keep a fast reader busy. */
const MOST_KEPT = 256 * 1024;
/** Digits of the exit code behind the mark. */
const CODE = 3;

/** `onUnread` is told of output after the reader gave up, which is dropped. */
export function createMarkedOutput(
  mark: Uint8Array | undefined,
  onUnread: () => void,
): MarkedOutput {
  const kept: Uint8Array[] = [];
  let size = 0, isOver = false, givenUp = false;
  /** What may be the beginning of the mark. */
  let held = new Uint8Array();
  const ended = Promise.withResolvers<number | undefined>();
  let wake = Promise.withResolvers<void>(), room = Promise.withResolvers<void>();

  const keep = (bytes: Uint8Array) => {
    if (bytes.length === 0) return;
    if (givenUp) return onUnread();
    kept.push(bytes);
    size += bytes.length;
    wake.resolve();
  };
  const finish = (code: number | undefined) => {
    if (isOver) return;
    isOver = true;
    wake.resolve();
    ended.resolve(code);
  };
  const search = (bytes: Uint8Array, mark: Uint8Array) => {
    const all = held.length > 0 ? concat([held, bytes]) : bytes;
    const found = findBytes(all, mark);
    const at = found >= 0 ? found : all.length - beginningOf(mark, all);
    const code = all.subarray(at + mark.length);
    if (found >= 0 && code.length >= CODE) {
      keep(all.subarray(0, at));
      return finish(Number(text(code.subarray(0, CODE))));
    }
    held = all.slice(at);
    keep(all.subarray(0, at));
  };

  const drop = () => {
    givenUp = true;
    kept.length = size = 0;
    room.resolve();
  };

  return {
    ended: ended.promise,
    drop,
    push(bytes) {
      if (isOver) return;
      if (mark) search(bytes, mark);
      else keep(bytes);
      if (size <= MOST_KEPT || givenUp) return;
      room = Promise.withResolvers();
      return room.promise;
    },
    end() {
      if (!isOver) keep(held);
      finish(undefined);
    },
    stream: new ReadableStream<Uint8Array>({
      async pull(controller) {
        while (kept.length === 0 && !isOver) {
          wake = Promise.withResolvers();
          await wake.promise;
        }
        const bytes = kept.shift();
        if (!bytes) return controller.close();
        size -= bytes.length;
        if (size <= MOST_KEPT) room.resolve();
        controller.enqueue(bytes);
      },
      cancel() {
        drop();
        if (!isOver) onUnread();
      },
    }, { highWaterMark: 0 }),
  };
}

/** How many of the last bytes are the first ones of the mark. */
function beginningOf(mark: Uint8Array, bytes: Uint8Array): number {
  for (let at = bytes.indexOf(mark[0]!, Math.max(0, bytes.length - mark.length + 1)); at >= 0;) {
    if (bytes.subarray(at).every((byte, i) => byte === mark[i])) return bytes.length - at;
    at = bytes.indexOf(mark[0]!, at + 1);
  }
  return 0;
}
