/** One client of the local socket, from the greeting to its end: one call, or one ask. */
import { abortable, deadline } from "../abort.ts";
import type { Outcome } from "../api/run.ts";
import { text, utf8 } from "../bytes.ts";
import type { RemoteRun } from "../client/exec.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import {
  type Frame,
  FrameError,
  FrameReader,
  FrameWriter,
  KIND,
  MAX_DATA,
  readJson,
  readU32,
  u32s,
  WINDOW,
} from "../ipc/frames.ts";
import {
  type Ask,
  type Call,
  type Failure,
  type Hello,
  PROTOCOL,
  type Started,
} from "../ipc/messages.ts";
import { ReadCount, Window } from "../ipc/window.ts";
import { clampSize } from "../ssh/screen.ts";
import { VERSION } from "../version.ts";
import type { Current, Identities } from "./identity.ts";
import type { LocalConn } from "./local_conn.ts";
import { readAsk, readCall } from "./read_call.ts";

export interface ClientDeps {
  readonly identities: Identities;
  /** No new calls. */
  readonly closing: AbortSignal;
  /** What runs is given up. */
  readonly ending: AbortSignal;
  /** A run is under way until disposed. */
  countRun(): Disposable;
  answer(ask: Ask): Promise<unknown>;
}

/** Who connects and asks nothing is cut off. */
const ASK_MS = 10_000;

/** Resolves when the client is done with; never rejects. Closes `conn`. */
export async function attendClient(conn: LocalConn, deps: ClientDeps): Promise<void> {
  const reader = new FrameReader(conn), writer = new FrameWriter(conn);
  try {
    // without a login there is nothing to call with: the caller finds out by itself what is wrong
    const current = await deps.identities.current().catch(() => undefined);
    const hello: Hello = {
      protocol: PROTOCOL,
      version: VERSION,
      generation: current?.generation ?? "",
      closing: deps.closing.aborted || (current?.identity.daemonRefused ?? true),
    };
    writer.sendJson(KIND.HELLO, hello);
    using limit = deadline(ASK_MS, () => new FrameError("it asked nothing"));
    const first = await abortable(reader.next(), limit.signal);
    if (!first) return;
    const { kind } = first, json = readJson(first.payload);
    const call = kind === KIND.CALL ? readCall(json) : undefined;
    const ask = kind === KIND.ASK ? readAsk(json) : undefined;
    if (ask) writer.sendJson(KIND.ANSWER, await deps.answer(ask));
    else if (call && current) await attendCall(call, current, reader, writer, deps);
    else throw new FrameError("neither a call nor an ask");
  } catch (error) {
    // nobody to tell but the client, whose fault it is
    const message = error instanceof FrameError ? error.message : toOpenboxError(error).message;
    const failure: Failure = { code: "bad_request", message, hint: null, warnings: [] };
    writer.sendJson(KIND.FAILED, failure);
  } finally {
    await writer.flush();
    conn.close();
  }
}

async function attendCall(
  call: Call,
  current: Current,
  reader: FrameReader,
  writer: FrameWriter,
  deps: ClientDeps,
): Promise<void> {
  // not accepted: it goes another way
  if (deps.closing.aborted || current.generation !== deps.identities.generation) return;
  writer.send(KIND.ACCEPTED);
  using _counted = deps.countRun();
  using _used = current.use();
  const { identity, pool } = current;
  const client = new ClientEnd(reader, writer);
  using _ = onAbort(deps.ending, () => client.giveUp(new Ended()));
  const warnings = identity.warnings();
  let run: RemoteRun;
  try {
    const command = { ...call.command, runId: call.run_id };
    run = await pool.open(call.target, command, { signal: client.gone });
  } catch (error) {
    const { code, message, hint } = toOpenboxError(error);
    const failure: Failure = { code, message, hint: hint ?? null, warnings };
    return writer.sendJson(KIND.FAILED, failure);
  }
  await using owned = run;
  const started: Started = {
    node_id: owned.nodeId,
    node_name: owned.nodeName,
    session_bound: owned.sessionBound,
    warnings,
  };
  writer.sendJson(KIND.STARTED, started);
  owned.onProgress((line) => writer.send(KIND.PROGRESS, utf8(line)));
  client.attach(owned);
  try {
    const outcome = await abortable(finish(owned, client, writer), client.gone);
    if (outcome.session?.ended && call.target.session !== undefined) {
      pool.forget(call.target.session);
    }
    writer.sendJson(KIND.END, outcome);
  } catch (error) {
    if (error instanceof Ended) writer.sendJson(KIND.END, endedWith(owned));
  }
}

/** Passes the output on, each stream as fast as it is read, and tells how it ended. */
async function finish(run: RemoteRun, client: ClientEnd, writer: FrameWriter): Promise<Outcome> {
  const pass = async (
    stream: "stdout" | "stderr",
    kind: typeof KIND.STDOUT | typeof KIND.STDERR,
  ) => {
    for (let chunk; (chunk = await run[stream].read()) !== null;) {
      for (let at = 0; at < chunk.length;) {
        const length = await client[stream].take(Math.min(chunk.length - at, MAX_DATA));
        if (length === 0) return;
        writer.send(kind, chunk.subarray(at, at + length));
        at += length;
      }
    }
  };
  const [outcome] = await Promise.all([
    run.end,
    pass("stdout", KIND.STDOUT),
    pass("stderr", KIND.STDERR),
  ]);
  return outcome;
}

/** What the client sends after its call. */
class ClientEnd {
  readonly stdout = new Window();
  readonly stderr = new Window();
  readonly #gone = new AbortController();
  readonly #writer: FrameWriter;
  readonly #inputRead = new ReadCount((bytes) => this.#writer.send(KIND.INPUT_READ, u32s(bytes)));
  #run: RemoteRun | undefined;
  #input: Promise<unknown> = Promise.resolve();
  #inputWaiting = 0;

  constructor(reader: FrameReader, writer: FrameWriter) {
    this.#writer = writer;
    void this.#readAll(reader);
  }

  /** Aborts when the client is gone, does not speak as it should, or is given up. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  giveUp(why: Error): void {
    this.#gone.abort(why);
    this.stdout.close();
    this.stderr.close();
  }

  attach(run: RemoteRun): void {
    this.#run = run;
  }

  async #readAll(reader: FrameReader): Promise<void> {
    try {
      for (let frame; (frame = await reader.next());) this.#take(frame);
      this.giveUp(new OpenboxError("cancelled", "the client is gone"));
    } catch (error) {
      this.giveUp(error as Error);
    }
  }

  #take({ kind, payload }: Frame): void {
    const run = this.#run;
    if (!run) throw new FrameError("nothing can be told to a command that has not started");
    switch (kind) {
      case KIND.INPUT:
        return this.#feed(run, payload.slice());
      case KIND.INPUT_END:
        this.#input = this.#input.then(() => run.endInput());
        return;
      case KIND.SIGNAL:
        return run.signal(text(payload));
      case KIND.RESIZE:
        return run.resize(clampSize({ cols: number(payload, 0), rows: number(payload, 4) }));
      case KIND.OUTPUT_CLOSED:
        return run.closeOutput();
      case KIND.OUTPUT_READ: {
        const window = number(payload, 0) === 1 ? this.stdout : this.stderr;
        if (!window.grant(number(payload, 4))) throw new FrameError("more was read than sent");
        return;
      }
      default:
        throw new FrameError(`a frame of the kind ${kind}`);
    }
  }

  /** In order, and beside what else comes: a command that takes no input still gets signals. */
  #feed(run: RemoteRun, bytes: Uint8Array): void {
    this.#inputWaiting += bytes.length;
    if (this.#inputWaiting > WINDOW) throw new FrameError("more input than the window allows");
    this.#input = this.#input.then(async () => {
      const taken = await run.write(bytes);
      this.#inputWaiting -= bytes.length;
      if (taken) this.#inputRead.add(bytes.length);
      else this.#writer.send(KIND.INPUT_CLOSED);
    });
  }
}

function number(payload: Uint8Array, at: number): number {
  if (payload.length < at + 4) throw new FrameError("a frame that is too short");
  return readU32(payload, at);
}

/** The daemon was told to end. */
class Ended extends OpenboxError {
  constructor() {
    super("cancelled", "openbox's daemon was ended");
  }
}

const endedWith = ({ nodeName }: RemoteRun): Outcome => ({
  outcome: "lost",
  code: 255,
  signal: null,
  session: null,
  error: {
    code: "lost",
    message: `The daemon was ended while the command ran on ${nodeName}`,
    hint: "the node ends what still runs",
  },
});

function onAbort(signal: AbortSignal, act: () => void): Disposable {
  if (signal.aborted) act();
  else signal.addEventListener("abort", act, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", act) };
}
