/** One output of a command in a session, as its reader sees it: from the first byte to the token that marks the end. */
import { concat, findBytes } from "../bytes.ts";
import type { RelayOutput } from "../isolation/backend.ts";

export interface CommandOutput {
  readonly stream: ReadableStream<Uint8Array>;
  /** The command has ended: from now on the token is looked for. What was read before cannot hold it. */
  expect(token: Uint8Array): void;
  /** All of the command's output was read, or dropped after its reader gave up. */
  readonly ended: Promise<void>;
  readonly isEnded: boolean;
  /** Gives up what is not read, and reads on to the end. */
  drain(): void;
  /** Reads what comes after the end, from the background, until the pipe closes. */
  drop(): Promise<void>;
}

/** `onUnread` is told of output after the reader gave up. The pipe is read on: closed, it would end the shell. */
export function readCommandOutput(source: RelayOutput, onUnread: () => void): CommandOutput {
  let token: Uint8Array | undefined, tail: Uint8Array = new Uint8Array();
  let closed = false, isEnded = false, givenUp = false;
  let last: Promise<unknown> = Promise.resolve();
  const ended = Promise.withResolvers<void>();
  const end = () => {
    isEnded = true;
    ended.resolve();
  };

  /** Undefined at the end. */
  async function next(): Promise<Uint8Array | undefined> {
    while (!isEnded) {
      const chunk = await source.read();
      if (!chunk) {
        closed = true;
        end();
        return tail.length > 0 ? tail : undefined;
      }
      if (!token) return chunk;
      const bytes = tail.length === 0 ? chunk : concat([tail, chunk]);
      const at = findBytes(bytes, token);
      if (at >= 0) {
        end();
        return at > 0 ? bytes.subarray(0, at) : undefined;
      }
      const whole = Math.max(0, bytes.length - token.length + 1);
      tail = bytes.slice(whole);
      if (whole > 0) return bytes.subarray(0, whole);
    }
    return undefined;
  }
  const nextInTurn = (): Promise<Uint8Array | undefined> => {
    const chunk = last.then(next);
    last = chunk;
    return chunk;
  };

  async function drain(): Promise<void> {
    givenUp = true;
    await last;
    while (!isEnded) if (await nextInTurn()) onUnread();
  }

  return {
    stream: new ReadableStream<Uint8Array>({
      async pull(controller) {
        const chunk = await nextInTurn();
        if (givenUp) return chunk && onUnread();
        if (chunk) controller.enqueue(chunk);
        else controller.close();
      },
      cancel() {
        void drain();
      },
    }, { highWaterMark: 0 }),
    expect(mark) {
      token = mark;
    },
    ended: ended.promise,
    get isEnded() {
      return isEnded;
    },
    drain() {
      if (!givenUp) void drain();
    },
    async drop() {
      await last;
      while (!closed) closed = await source.read() === undefined;
    },
  };
}
