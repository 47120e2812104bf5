/** A session channel without a connection: the test says what the client sends and reads what it would get. */
import { concat, text, utf8 } from "../../src/bytes.ts";
import type { ScreenSize, TerminalRequest } from "../../src/ssh/screen.ts";
import type {
  ChannelRequest,
  OutputStream,
  RemoteExit,
  ServerChannel,
} from "../../src/ssh/channel.ts";

export interface FakeChannel<Proof> {
  readonly channel: ServerChannel<Proof>;
  /** The client sends `input`; `end` is its EOF. */
  send(input: string | Uint8Array): void;
  end(): void;
  signal(name: string): void;
  resize(size: ScreenSize): void;
  /** The client closes its standard output; the client is gone. */
  closeOutput(): void;
  close(): void;
  written(stream: OutputStream): string;
  readonly requests: { readonly type: string; readonly payload: string }[];
  /** Once the client was sent more than it takes: what is written then waits. */
  readonly windowFull: Promise<void>;
  /** Once `end` was called. */
  readonly exit: Promise<RemoteExit>;
}

/** What the client takes without reading. */
const WINDOW = 64 * 1024;

export function fakeChannel<Proof>(
  proof: Proof,
  request: ChannelRequest,
  env: Readonly<Record<string, string>> = {},
  terminal?: TerminalRequest,
): FakeChannel<Proof> {
  const queue: (Uint8Array | null)[] = [];
  let reader: ((chunk: Uint8Array | null) => void) | undefined, over = false;
  const push = (chunk: Uint8Array | null) => {
    if (over) return;
    over = chunk === null;
    if (reader) reader(chunk);
    else queue.push(chunk);
    reader = undefined;
  };
  const closed = new AbortController(), outputClosed = new AbortController();
  const output: Record<OutputStream, Uint8Array[]> = { stdout: [], stderr: [] };
  const requests: { type: string; payload: string }[] = [];
  const ended = Promise.withResolvers<RemoteExit>(), full = Promise.withResolvers<void>();
  const kept: string[] = [];
  let lastSize: ScreenSize | undefined;
  let resized = (size: ScreenSize): void => void (lastSize = size);
  let window = WINDOW;
  let handler: ((name: string) => void) | undefined;
  const bytes = (input: string | Uint8Array) => typeof input === "string" ? utf8(input) : input;

  return {
    channel: {
      proof,
      request,
      env: new Map(Object.entries(env)),
      terminal,
      input: {
        read: () =>
          queue.length > 0
            ? Promise.resolve(queue.shift()!)
            : over
            ? Promise.resolve(null)
            : new Promise((resolve) => reader = resolve),
      },
      closed: closed.signal,
      outputClosed: outputClosed.signal,
      async write(stream, chunk) {
        const { signal } = stream === "stdout" ? outputClosed : closed;
        if (signal.aborted) return false;
        output[stream].push(chunk.slice());
        if ((window -= chunk.length) >= 0) return true;
        full.resolve();
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        return false;
      },
      onSignal(next) {
        handler = next;
        for (const name of kept.splice(0)) next(name);
      },
      onResize(next) {
        resized = next;
        if (lastSize) next(lastSize);
      },
      sendRequest: (type, payload) => void requests.push({ type, payload: text(payload) }),
      end(exit) {
        push(null);
        ended.resolve(exit);
        return Promise.resolve();
      },
    },
    send: (input) => push(bytes(input)),
    end: () => push(null),
    signal: (name) => handler ? handler(name) : void kept.push(name),
    resize: (size) => resized(size),
    closeOutput: () => outputClosed.abort(new Error("closed by the client")),
    close() {
      push(null);
      outputClosed.abort(new Error("gone"));
      closed.abort(new Error("gone"));
    },
    written: (stream) => text(concat(output[stream])),
    requests,
    windowFull: full.promise,
    exit: ended.promise,
  };
}
