/**
 * The act itself: one channel of a verified user, one command. Whatever it may not do, or this node
 * cannot, is refused before anything starts; from the start on the channel is told how it ended.
 */
import type { VerifiedUser } from "../ca/verifier.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import type { IsolationBackend, Process } from "../isolation/backend.ts";
import { formatIsolation, type IsolationSpec, NATIVE, parseIsolation } from "../isolation/spec.ts";
import { log } from "../log.ts";
import type { OutputStream, ServerChannel } from "../ssh/channel.ts";
import { equalBytes, utf8 } from "../bytes.ts";
import { quoteWord } from "../shell_word.ts";
import { type Login, loginEnvironment } from "./login.ts";
import { type Ended, logFields, tell } from "./run_end.ts";
import { readWantedRun, type WantedRun } from "./run_request.ts";

export interface ExecDeps {
  readonly backends: readonly IsolationBackend[];
  readonly login: Login;
  /** PATH of the login's login shell. */
  readonly path: Promise<string>;
  readonly nodeId: string;
  readonly clock: Clock;
  /** Aborts when the agent ends: what runs is ended with it. */
  readonly stopping: AbortSignal;
}

/** Resolves when the channel is ended and nothing of the run goes on. */
export async function serveChannel(
  channel: ServerChannel<VerifiedUser>,
  deps: ExecDeps,
): Promise<void> {
  const { proof: user } = channel, startedAt = deps.clock.now();
  const finish = async (ended: Ended, runId?: string) => {
    await tell(ended, channel);
    log("agent", "run").info("run ended", {
      user: user.userName,
      serial: String(user.serial),
      ...(runId !== undefined && { run: runId }),
      ...logFields(ended),
      ms: deps.clock.now() - startedAt,
    });
  };

  let wanted: WantedRun | undefined, process: Process;
  try {
    wanted = await readWantedRun(channel);
    process = await startRun(user, wanted, deps);
  } catch (error) {
    return await finish({ kind: "not_started", error: toOpenboxError(error) }, wanted?.runId);
  }
  await using _ = process;
  await finish(await attend(process, wanted, channel, deps), wanted.runId);
}

/** Asks for the proof: there is no other way to a process. */
async function startRun(
  user: VerifiedUser,
  wanted: WantedRun,
  { backends, login, path, nodeId }: ExecDeps,
): Promise<Process> {
  checkPermission(user, wanted, login);
  const spec = chooseIsolation(user.isolation, wanted.isolation);
  const backend = backends.find(({ kind }) => kind === spec.kind);
  if (!backend) {
    throw new OpenboxError(
      "isolation_unavailable",
      `This node cannot run commands in ${formatIsolation(spec)}`,
      { hint: `it has ${backends.map(({ kind }) => kind).join(", ")}` },
    );
  }
  const { line, terminal, env, cwd } = wanted;
  return await backend.run(spec, {
    line: line ?? loginShell(login),
    env: {
      ...loginEnvironment(login, { path: await path, nodeId }),
      ...(terminal && { TERM: terminal.term }),
      ...env,
    },
    cwd: cwd?.startsWith("/") ? cwd : cwd ? `${login.home}/${cwd}` : login.home,
    terminal,
  });
}

/** On a terminal it is interactive by itself; without one it reads commands from its input. */
const loginShell = ({ shell }: Login): Uint8Array => utf8(`exec ${quoteWord(shell)} -l`);

/** What the certificate fixes, held or refused; never something else in its place. */
function checkPermission(
  user: VerifiedUser,
  { line, terminal }: Pick<WantedRun, "line" | "terminal">,
  login: Login,
): void {
  if (user.session !== undefined) {
    throw new OpenboxError("not_supported", "This node's openbox does not serve sessions", {
      hint: "run the command without -s",
    });
  }
  if (user.login !== undefined && user.login !== login.name) {
    throw new OpenboxError(
      "not_supported",
      `This node runs commands as ${login.name} only, not as ${JSON.stringify(user.login)}`,
    );
  }
  if (terminal && !user.permitPty) {
    throw new OpenboxError("cert_refused", "The certificate allows no terminal", {
      hint: "-T runs a command without one",
    });
  }
  const { forceCommand } = user;
  if (forceCommand !== undefined && !(line && equalBytes(line, utf8(forceCommand)))) {
    throw new OpenboxError(
      "cert_refused",
      "The certificate allows one command only, and this is not it",
    );
  }
}

function chooseIsolation(fixed: string | undefined, asked: string | undefined): IsolationSpec {
  const wanted = asked === undefined ? undefined : parseIsolation(asked);
  if (fixed === undefined) return wanted ?? NATIVE;
  const spec = parseIsolation(fixed);
  if (wanted && formatIsolation(wanted) !== formatIsolation(spec)) {
    throw new OpenboxError(
      "session_not_authorized",
      `The certificate is for ${formatIsolation(spec)}, not for ${formatIsolation(wanted)}`,
    );
  }
  return spec;
}

/** A reason at hand: without one each abort makes an exception with its stack. */
const DONE = new Error("the run is over");

/** Passes the streams both ways until the command ended; a client that is gone ends it. */
async function attend(
  process: Process,
  { input, timeoutMs }: WantedRun,
  channel: ServerChannel<VerifiedUser>,
  { clock, stopping }: ExecDeps,
): Promise<Ended> {
  const over = new AbortController();
  let timedOut = false;
  void feed(process, input, channel); // ends with the process, or with the channel
  channel.onResize((size) => process.resize(size));
  channel.onSignal((name) => {
    if (SIGNALS.has(name)) process.kill(`SIG${name}` as Deno.Signal);
  });
  const terminate = () => void process.terminate();
  for (const signal of [channel.closed, stopping]) {
    if (signal.aborted) terminate();
    else signal.addEventListener("abort", terminate, { signal: over.signal });
  }
  if (timeoutMs !== undefined) {
    sleepLong(timeoutMs, clock, over.signal).then(() => {
      timedOut = true;
      terminate();
    }, () => {}); // the command was faster
  }
  try {
    const [exit] = await Promise.all([
      process.exit,
      pass(process.stdout, "stdout", channel),
      pass(process.stderr, "stderr", channel),
    ]);
    return timedOut ? { kind: "timeout" } : exit;
  } finally {
    over.abort(DONE);
  }
}

/** RFC 4254 §6.10, and what job control has besides. */
const SIGNALS: ReadonlySet<string> = new Set(
  "ABRT ALRM CONT FPE HUP ILL INT KILL PIPE QUIT SEGV STOP TERM TSTP USR1 USR2".split(" "),
);

/** A command that no longer reads leaves the rest unread: the window then holds the caller back, as a pipe would. */
async function feed(
  process: Process,
  first: Uint8Array,
  { input }: ServerChannel<VerifiedUser>,
): Promise<void> {
  const writer = process.stdin.getWriter();
  try {
    if (first.length > 0) await writer.write(first);
    for (let chunk; (chunk = await input.read()) !== null;) await writer.write(chunk);
    await writer.close();
  } catch {
    // the command closed its stdin or is gone
  }
}

async function pass(
  output: ReadableStream<Uint8Array>,
  stream: OutputStream,
  channel: ServerChannel<VerifiedUser>,
): Promise<void> {
  const reader = output.getReader();
  const over = new AbortController();
  const giveUp = () => void reader.cancel();
  // the command finds its pipe closed, as if whoever closed it were on this machine
  const closed = stream === "stdout" ? channel.outputClosed : channel.closed;
  if (closed.aborted) giveUp();
  else closed.addEventListener("abort", giveUp, { signal: over.signal });
  for (let part; !(part = await reader.read()).done;) {
    if (!await channel.write(stream, part.value)) giveUp();
  }
  over.abort(DONE);
}

/** A timer's longest wait is 24 days. */
async function sleepLong(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const MOST = 2 ** 31 - 1;
  for (let left = ms; left > 0; left -= MOST) await clock.sleep(Math.min(left, MOST), { signal });
}
