/** A command through the daemon: greeted, asked, and then a run like one of our own connection. */
import { abortable } from "../abort.ts";
import type { Outcome } from "../api/run.ts";
import { text, utf8 } from "../bytes.ts";
import type { RemoteRun } from "../client/exec.ts";
import { isCode, OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import {
  type Frame,
  FrameError,
  FrameReader,
  FrameWriter,
  KIND,
  MAX_DATA,
  MAX_FRAME,
  readJson,
  readU32,
  u32s,
} from "../ipc/frames.ts";
import { type Call, type Failure, type Hello, PROTOCOL, type Started } from "../ipc/messages.ts";
import { ReadCount, Window } from "../ipc/window.ts";
import type { OutputStream } from "../ssh/channel.ts";
import { Inbox } from "../ssh/inbox.ts";
import { VERSION } from "../version.ts";
import { printWarning } from "./output.ts";

/**
 * A daemon that says nothing for so long is not there. It is counted in turns of this process, so that one
 * which had no time itself does not blame the daemon.
 */
const HELLO_TURNS = 6, TURN_MS = 50;

/** A daemon of ours that has greeted. Nothing was asked of it. */
export interface Greeted {
  /** Resolves when it is on its way. */
  send(call: Call): Promise<void>;
  /**
   * Whether it took the call; undefined where it did not, and the call has to go another way. Rejects only
   * with the reason of `host.signal`: nobody knows then.
   */
  accepted(host: Pick<Host, "signal">): Promise<Accepted | undefined>;
}

/** A call that the daemon has taken: it alone knows what becomes of it. */
export interface Accepted {
  /** The run, once the node was asked for it. Throws what kept it from that. */
  started(host: Host): Promise<RemoteRun>;
}

/** Undefined where nobody answers in time, or somebody of another version or another login. Owns the socket. */
export async function greetDaemon(
  connecting: Promise<Deno.UnixConn>,
  generation: string,
): Promise<Greeted | undefined> {
  await using stack = new AsyncDisposableStack();
  try {
    const socket = stack.adopt(await connecting, close);
    const reader = new FrameReader(socket), writer = new FrameWriter(socket);
    const hello = await withinTurns(reader.next());
    if (!hello || !isUsable(hello, generation)) return undefined;
    return ask(reader, writer, stack.move());
  } catch {
    return undefined;
  }
}

function ask(reader: FrameReader, writer: FrameWriter, owned: AsyncDisposableStack): Greeted {
  let runId = "", fits = true;
  return {
    async send(call) {
      const json = utf8(JSON.stringify(call));
      runId = call.run_id;
      fits = json.length <= MAX_FRAME;
      if (fits) writer.send(KIND.CALL, json);
      await writer.begun();
    },
    async accepted({ signal }) {
      try {
        const answer = fits ? await abortable(reader.next(), signal) : undefined;
        if (answer?.kind === KIND.ACCEPTED) {
          return { started: (host) => new SocketRun(reader, writer, owned, runId).started(host) };
        }
      } catch {
        // broken off, or by whom we are ended
      }
      await owned.disposeAsync();
      signal.throwIfAborted();
      return undefined;
    },
  };
}

function close(socket: Deno.UnixConn): void {
  try {
    socket.close();
  } catch {
    // closed by the runtime
  }
}

/** By the signals' timers: the first `setTimeout` of a process takes Deno 10 ms. */
async function withinTurns<T>(promise: Promise<T>): Promise<T | undefined> {
  promise.catch(() => {}); // it may fail after nobody waits any more
  let over = false;
  const tired = new Promise<undefined>((resolve) => {
    let turns = 0;
    const turn = () => {
      if (over || turns++ === HELLO_TURNS) return resolve(undefined);
      AbortSignal.timeout(TURN_MS).addEventListener("abort", turn);
    };
    turn();
  });
  try {
    return await Promise.race([promise, tired]);
  } finally {
    over = true;
  }
}

function isUsable({ kind, payload }: Frame, generation: string): boolean {
  if (kind !== KIND.HELLO) return false;
  const hello = readJson(payload) as Partial<Hello> | undefined;
  return hello?.protocol === PROTOCOL && hello.version === VERSION &&
    hello.generation === generation && hello.closing === false;
}

class SocketRun implements RemoteRun {
  readonly runId: string;
  nodeId = "";
  nodeName = "";
  sessionBound = false;
  readonly #writer: FrameWriter;
  readonly #owned: AsyncDisposable;
  readonly #window = new Window();
  readonly #started = Promise.withResolvers<Started>();
  readonly #ended = Promise.withResolvers<Outcome>();
  #onProgress: ((line: string) => void) | undefined;
  #progress = "";

  readonly stdout = this.#inbox(1);
  readonly stderr = this.#inbox(2);

  constructor(reader: FrameReader, writer: FrameWriter, owned: AsyncDisposable, runId: string) {
    this.runId = runId;
    this.#writer = writer;
    this.#owned = owned;
    this.#started.promise.catch(() => {}); // whoever waits for it is told
    void this.#readAll(reader);
  }

  async started(host: Host): Promise<RemoteRun> {
    try {
      const { node_id, node_name, session_bound, warnings } = await abortable(
        this.#started.promise,
        host.signal,
      );
      this.nodeId = node_id;
      this.nodeName = node_name;
      this.sessionBound = session_bound;
      for (const warning of warnings) await printWarning(warning, host);
      return this;
    } catch (error) {
      await this[Symbol.asyncDispose]();
      if (error instanceof NotStarted) {
        for (const warning of error.warnings) await printWarning(warning, host);
      }
      throw error;
    }
  }

  get end(): Promise<Outcome> {
    return this.#ended.promise;
  }

  async write(bytes: Uint8Array): Promise<boolean> {
    for (let at = 0; at < bytes.length;) {
      const length = await this.#window.take(Math.min(bytes.length - at, MAX_DATA));
      if (length === 0) return false;
      this.#writer.send(KIND.INPUT, bytes.subarray(at, at + length));
      at += length;
    }
    return true;
  }

  endInput(): void {
    this.#writer.send(KIND.INPUT_END);
  }
  signal(name: string): void {
    this.#writer.send(KIND.SIGNAL, utf8(name));
  }
  resize({ cols, rows }: { cols: number; rows: number }): void {
    this.#writer.send(KIND.RESIZE, u32s(cols, rows));
  }
  closeOutput(): void {
    this.#writer.send(KIND.OUTPUT_CLOSED);
    this.stdout.discard();
  }
  onProgress(handler: (line: string) => void): void {
    this.#onProgress = handler;
    if (this.#progress !== "") handler(this.#progress);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.flush(); // a signal that was sent just now
    await this.#owned[Symbol.asyncDispose]();
  }

  #inbox(stream: 1 | 2): Inbox {
    const count = new ReadCount((bytes) =>
      this.#writer.send(KIND.OUTPUT_READ, u32s(stream, bytes))
    );
    return new Inbox((bytes) => count.add(bytes));
  }

  async #readAll(reader: FrameReader): Promise<void> {
    let told = false;
    try {
      for (let frame; (frame = await reader.next());) {
        told = this.#take(frame);
        if (told) return;
      }
    } catch {
      // broken, or not as it should be: nothing that it says counts any more
    } finally {
      this.#window.close();
      this.stdout.end();
      this.stderr.end();
      if (!told) this.#lose();
    }
  }

  /** The daemon is gone, or does not speak as it should. */
  #lose(): void {
    const error = lost();
    this.#started.reject(error);
    this.#ended.resolve(lostOutcome(error));
  }

  /** True for the last one. Throws where it is none that a daemon sends. */
  #take({ kind, payload }: Frame): boolean {
    switch (kind) {
      case KIND.STARTED:
        this.#started.resolve(readJson(payload) as unknown as Started);
        return false;
      case KIND.STDOUT:
      case KIND.STDERR: {
        const stream: OutputStream = kind === KIND.STDOUT ? "stdout" : "stderr";
        this[stream].push(payload.slice());
        return false;
      }
      case KIND.PROGRESS:
        this.#progress = text(payload);
        this.#onProgress?.(this.#progress);
        return false;
      case KIND.INPUT_READ:
        if (!this.#window.grant(readU32(payload, 0))) {
          throw new FrameError("more was read than sent");
        }
        return false;
      case KIND.INPUT_CLOSED:
        this.#window.close();
        return false;
      case KIND.FAILED:
        this.#started.reject(notStarted(readJson(payload) as unknown as Failure));
        return true;
      case KIND.END:
        this.#ended.resolve(readJson(payload) as unknown as Outcome);
        return true;
      default:
        throw new FrameError(`a frame of the kind ${kind}`);
    }
  }
}

/** What kept the daemon from asking the node. */
class NotStarted extends OpenboxError {
  readonly warnings: readonly string[];
  constructor({ code, message, hint, warnings }: Failure) {
    super(isCode(code) ? code : "internal", message, { hint: hint ?? undefined });
    this.warnings = warnings;
  }
}

const notStarted = (failure: Failure): Error => new NotStarted(failure);

const lost = (): OpenboxError =>
  new OpenboxError("lost", "openbox's daemon ended while it had the command", {
    hint: "whether it ran is unknown; openbox daemon logs says more",
  });

function lostOutcome({ code, message, hint }: OpenboxError): Outcome {
  const error = { code, message, hint: hint ?? null };
  return { outcome: "lost", code: 255, signal: null, session: null, error };
}
