/** Stands between a run and the process that asked for it: feeds the input, passes the output on, hands signals over. */
import { abortable, deadline } from "../abort.ts";
import type { Outcome } from "../api/run.ts";
import type { RemoteRun } from "../client/exec.ts";
import { exitCode, OpenboxError } from "../errors.ts";
import { BrokenPipe, type Host, type HostSignal, type Input, Interrupted } from "../host.ts";
import type { ByteSource, OutputStream } from "../ssh/channel.ts";
import type { ScreenSize } from "../ssh/screen.ts";
import { errorDocument } from "./output.ts";
import type { Sink } from "./sink.ts";
import { connectTerminal } from "./terminal.ts";

export interface Attended {
  readonly outcome: Outcome;
  /** Of this process: the command's, unless something here ended it. */
  readonly code: number;
}

/** What ends us, and the run with us: by the signal `told`. */
interface Ending {
  readonly by: readonly HostSignal[];
  readonly told: string;
}
const ENDING: Ending = { by: ["SIGTERM", "SIGHUP"], told: "TERM" };
/**
 * What would end us without a word must not leave a terminal that was handed over. A shell on a terminal
 * ignores TERM, and hands a hang-up on to its jobs.
 */
const ENDING_TERMINAL: Ending = { by: [...ENDING.by, "SIGQUIT"], told: "HUP" };

const INPUT_CHUNK = 64 * 1024;
/** How long a command that is being killed may still tell how it ended. */
const FAREWELL_MS = 500;

/**
 * Resolves when the command has ended and its output is written, or when a signal ended the wait for it.
 * `screen` is the size that it was told, where it runs on a terminal.
 */
export async function attend(
  run: RemoteRun,
  sink: Sink,
  host: Host,
  screen?: ScreenSize,
): Promise<Attended> {
  using stopped = onSignals(run, screen ? ENDING_TERMINAL : ENDING, host);
  using _terminal = screen && await connectTerminal(run, screen, host);
  void feed(run, host.stdin); // the command's end does not wait for it: a terminal has no end
  const finished = finish(run, sink);
  const reason = await Promise.race([finished, stopped.reason]);
  if (!(reason instanceof Interrupted)) return reason;
  using limit = deadline(FAREWELL_MS, () => reason);
  const told = await abortable(run.end, limit.signal).catch(() => undefined);
  finished.catch(() => {}); // what still fails in it is of no interest now
  return { outcome: told ?? cancelled(reason, run), code: reason.exitCode };
}

async function finish(run: RemoteRun, sink: Sink): Promise<Attended> {
  const onBroken = () => {
    run.closeOutput();
    // of stderr alone there is no such word, and a local command would get this signal
    if (sink.isJoined) run.signal("PIPE");
  };
  const [outcome, broken] = await Promise.all([
    run.end,
    pass(run.stdout, "stdout", sink, onBroken),
    pass(run.stderr, "stderr", sink, sink.isJoined ? onBroken : undefined),
  ]);
  return { outcome, code: broken?.exitCode ?? codeOf(outcome) };
}

/** What a signal of ours ended before it started, ends us as that signal would. */
const codeOf = ({ outcome, code, error }: Outcome): number =>
  outcome === "not_started" && error?.code === "cancelled" ? exitCode("cancelled") : code;

/** One stream to its end; the failure when its reader went away, from when on the rest is read and dropped. */
async function pass(
  source: ByteSource,
  stream: OutputStream,
  sink: Sink,
  onBroken?: () => void,
): Promise<BrokenPipe | undefined> {
  let broken: BrokenPipe | undefined;
  const attempt = async (write: Promise<void>) => {
    try {
      await write;
    } catch (error) {
      if (!(error instanceof BrokenPipe)) throw error;
      broken = error;
      onBroken?.();
    }
  };
  for (let chunk; (chunk = await source.read()) !== null;) {
    if (!broken) await attempt(sink.write(stream, chunk));
  }
  if (!broken) await attempt(sink.end(stream));
  return broken;
}

/** Reads as fast as the command takes it. Never rejects: an input that cannot be read has ended. */
async function feed(run: RemoteRun, stdin: Input): Promise<void> {
  const buffer = new Uint8Array(INPUT_CHUNK);
  try {
    for (let count; (count = await stdin.read(buffer)) !== null;) {
      if (!await run.write(buffer.subarray(0, count))) return;
    }
  } catch {
    // a directory, a terminal that is gone
  }
  run.endInput();
}

/**
 * The first Ctrl-C is the command's, as if it ran here; the second ends it and us. SIGTERM and SIGHUP
 * end both at once.
 */
function onSignals(
  run: RemoteRun,
  { by, told }: Ending,
  host: Host,
): { reason: Promise<Interrupted> } & Disposable {
  const stop = Promise.withResolvers<Interrupted>();
  const handlers = new DisposableStack();
  let interrupts = 0;
  handlers.use(host.onSignal("SIGINT", () => {
    if (++interrupts === 1) return run.signal("INT");
    run.signal("KILL");
    stop.resolve(new Interrupted("SIGINT"));
  }));
  for (const name of by) {
    handlers.use(host.onSignal(name, () => {
      run.signal(told);
      stop.resolve(new Interrupted(name));
    }));
  }
  return { reason: stop.promise, [Symbol.dispose]: () => handlers.dispose() };
}

const cancelled = (reason: Interrupted, run: RemoteRun): Outcome => ({
  outcome: "lost",
  code: reason.exitCode,
  signal: null,
  error: errorDocument(
    new OpenboxError("cancelled", `${reason.signal} ended the wait for ${run.nodeName}`, {
      hint: "the node ends what still runs",
    }),
  ),
  session: null,
});
