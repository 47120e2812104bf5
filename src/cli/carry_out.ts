/** A run as a command of this process: attended, and at its end reported, whichever way it goes to its node. */
import { abortable, deadline } from "../abort.ts";
import type { Outcome } from "../api/run.ts";
import type { RemoteRun } from "../client/exec.ts";
import { type Code, isCode, OpenboxError, toOpenboxError } from "../errors.ts";
import { BrokenPipe, type Host, interruption } from "../host.ts";
import { attend, type Attended } from "./attend.ts";
import { formatDuration } from "./duration.ts";
import { errorDocument, printError, printNote } from "./output.ts";
import { showProgress } from "./progress.ts";
import type { RunOptions } from "./run_options.ts";
import { jsonSink, plainSink } from "./sink.ts";

/** openbox's own failure in a run, as ssh has it; a command line that cannot be read is 2 as elsewhere. */
const FAILED = 255, USAGE = 2;

export interface AskedRun {
  readonly options: RunOptions;
  readonly runId: string;
  readonly json: boolean;
}

/** The exit code. Its own failures are printed here, since `--json` owes a last line whatever happens. */
export async function carryOut(
  { options: { target, command }, runId, json }: AskedRun,
  open: () => Promise<RemoteRun>,
  host: Host,
): Promise<number> {
  let run: RemoteRun | undefined, attended: Attended;
  const lines = json ? jsonSink(host) : undefined;
  try {
    run = await open();
    showProgress(run, host);
    attended = await attend(run, lines ?? plainSink(host), host, command.terminal);
  } catch (error) {
    if (error instanceof BrokenPipe) return error.exitCode;
    attended = notAttended(error, run !== undefined, host);
  } finally {
    await run?.[Symbol.asyncDispose]();
  }
  await report(attended, command.timeoutMs, host);
  await reportSession(attended, target.session, run?.sessionBound ?? false, host);
  if (!lines) return attended.code;
  const last = lastLine(attended, runId, run?.nodeId);
  return await writeLast(lines.close(last), attended, host);
}

/** The exit code of a call that came to nothing before there was a run: its command line was wrong. */
export async function refuse(
  error: unknown,
  { runId, json }: Omit<AskedRun, "options">,
  host: Host,
): Promise<number> {
  const attended = notAttended(error, false, host);
  await report(attended, undefined, host);
  if (!json) return attended.code;
  return await writeLast(jsonSink(host).close(lastLine(attended, runId)), attended, host);
}

const lastLine = (
  { outcome: { outcome, signal, error, session }, code }: Attended,
  runId: string,
  nodeId?: string,
) => ({
  stream: "exit",
  outcome,
  code,
  signal,
  error,
  run_id: runId,
  node_id: nodeId ?? null,
  session,
});

/** For a reader that does not read, after somebody wanted it all to end. */
const LAST_LINE_MS = 500;

/** The exit code. */
async function writeLast(
  writing: Promise<void>,
  { code, outcome: { error } }: Attended,
  host: Host,
): Promise<number> {
  const late = () => new OpenboxError("cancelled", "nobody reads the last line");
  using limit = error?.code === "cancelled" ? deadline(LAST_LINE_MS, late) : undefined;
  try {
    await (limit ? abortable(writing, limit.signal) : writing);
    return code;
  } catch (failure) {
    if (failure instanceof BrokenPipe) return failure.exitCode;
    if (error) return code; // the first one is told
    await printError(toOpenboxError(failure), host);
    return FAILED;
  }
}

/** A failure on this side: before the command was sent, or while its output was passed on. */
function notAttended(error: unknown, started: boolean, host: Host): Attended {
  const interrupted = interruption(error, host);
  if (interrupted) {
    const failure = new OpenboxError("cancelled", `not started: ${interrupted.signal}`);
    return ended("not_started", failure, interrupted.exitCode);
  }
  const failure = toOpenboxError(error);
  const code = failure.code === "usage" ? USAGE : FAILED;
  const unknown = started || failure.code === "lost";
  return ended(unknown ? "lost" : "not_started", failure, code);
}

const ended = (outcome: Outcome["outcome"], error: OpenboxError, code: number): Attended => ({
  outcome: { outcome, code, signal: null, error: errorDocument(error), session: null },
  code,
});

/** Says on stderr what is openbox's own: a command's failure speaks for itself. */
async function report(
  { outcome: { outcome, error } }: Attended,
  timeoutMs: number | undefined,
  host: Host,
): Promise<void> {
  if (outcome === "timeout" && timeoutMs !== undefined) {
    await printNote(`ended after ${formatDuration(timeoutMs)}, by --timeout`, host);
  }
  if (!error || error.code === "cancelled") return; // the person knows who ended it
  const known: Code = isCode(error.code) ? error.code : "internal";
  const message = outcome === "not_started" && known !== "usage"
    ? `not started: ${error.message}`
    : error.message;
  await printError(new OpenboxError(known, message, { hint: error.hint ?? undefined }), host);
}

/** What a person would not expect of a shell that stays. */
async function reportSession(
  { outcome: { outcome, code, session } }: Attended,
  name: string | undefined,
  bound: boolean,
  host: Host,
): Promise<void> {
  if (name === undefined || !session) return;
  if (session.created && !bound) {
    await printNote(`the session ${name} was started anew, for the one before had ended`, host);
  }
  if (!session.ended) return;
  const how = outcome === "exit" || outcome === "signal" ? ` with code ${code}` : "";
  await printNote(`the session ${name} ended${how}; the next call starts it anew`, host);
}
