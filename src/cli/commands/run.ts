/** `openbox run` and the bare form: a command on a node, as if it ran here. */
import type { Outcome } from "../../api/run.ts";
import { caFingerprint } from "../../ca/keys.ts";
import { currentPair } from "../../ca/trust.ts";
import { createControlClient } from "../../client/control_client.ts";
import { type ExecDeps, openRun, type RemoteRun } from "../../client/exec.ts";
import { abortable, deadline } from "../../abort.ts";
import { type Code, isCode, OpenboxError, toOpenboxError } from "../../errors.ts";
import { BrokenPipe, type Host, interruption } from "../../host.ts";
import { newRunId } from "../../ids.ts";
import { attend, type Attended } from "../attend.ts";
import { believeCa, caPin } from "../ca_pin.ts";
import { formatDuration } from "../duration.ts";
import { type Login, readLogin } from "../login.ts";
import { errorDocument, printError, printNote, printWarning } from "../output.ts";
import { showProgress, showWaiting } from "../progress.ts";
import type { RunFlagValues } from "../run_flags.ts";
import { readRunOptions, type RunOptions } from "../run_options.ts";
import { jsonSink, plainSink } from "../sink.ts";
import { userKey } from "../user_key.ts";

/** openbox's own failure in a run, as ssh has it; a command line that cannot be read is 2 as elsewhere. */
const FAILED = 255, USAGE = 2;

export interface RunLine {
  readonly flags: RunFlagValues;
  readonly words: readonly string[];
}

/** The exit code. Its own failures are printed here, since `--json` owes a last line whatever happens. */
export async function runOnNode({ flags, words }: RunLine, host: Host): Promise<number> {
  const runId = newRunId(), json = flags.has("json");
  let run: RemoteRun | undefined, attended: Attended, options: RunOptions | undefined;
  const lines = json ? jsonSink(host) : undefined;
  try {
    options = readRunOptions(flags, words, host);
    run = await start(options, runId, host);
    showProgress(run, host);
    attended = await attend(run, lines ?? plainSink(host), host, options.command.terminal);
  } catch (error) {
    if (error instanceof BrokenPipe) throw error;
    attended = notAttended(error, run !== undefined, host);
  } finally {
    await run?.[Symbol.asyncDispose]();
  }
  await report(attended, options?.command.timeoutMs, host);
  await reportSession(attended, options?.target.session, run?.sessionBound ?? false, host);
  if (lines) {
    const { outcome, signal, error, session } = attended.outcome;
    const ids = { run_id: runId, node_id: run?.nodeId ?? null };
    const last = { stream: "exit", outcome, code: attended.code, signal, error, ...ids, session };
    return await writeLast(lines.close(last), attended, host);
  }
  return attended.code;
}

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
    if (failure instanceof BrokenPipe) throw failure;
    if (error) return code; // the first one is told
    await printError(toOpenboxError(failure), host);
    return FAILED;
  }
}

async function start(options: RunOptions, runId: string, host: Host): Promise<RemoteRun> {
  const login = await readLogin(host);
  await using _waiting = showWaiting("connecting …", host);
  await using control = createControlClient(login);
  const deps = { ...await runDeps(login, host), control };
  return await openRun(options.target, { ...options.command, runId }, deps, host);
}

/** What a run needs besides the control plane. */
export async function runDeps(login: Login, host: Host): Promise<Omit<ExecDeps, "control">> {
  const { dialNode } = await import("../../transport/dial_node.ts");
  return {
    key: await userKey(login, host),
    clock: host.clock,
    dial: dialNode,
    checkCa: (answer) => believe(answer, login, host),
  };
}

async function believe(
  answer: Parameters<ExecDeps["checkCa"]>[0],
  login: Login,
  host: Host,
) {
  const trust = await believeCa(answer, login, host);
  if (caPin(login).kind === "none") {
    const line = `OPENBOX_CA_FINGERPRINT=${caFingerprint(currentPair(trust))}`;
    await printWarning(`believing the CA that ${login.server.href} names; ${line} pins it`, host);
  }
  return trust;
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
  return ended(started ? "lost" : "not_started", failure, code);
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
