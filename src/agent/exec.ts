/**
 * The act itself: one channel of a verified user, one command. Whatever it may not do, or this node
 * cannot, is refused before anything starts; from the start on the channel is told how it ended.
 */
import type { AbortOptions } from "../abort.ts";
import type { VerifiedUser } from "../ca/verifier.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import type { IsolationBackend, Process, RunOptions } from "../isolation/backend.ts";
import { formatIsolation, type IsolationSpec, NATIVE, parseIsolation } from "../isolation/spec.ts";
import { log } from "../log.ts";
import type { OutputStream, ServerChannel } from "../ssh/channel.ts";
import { equalBytes, utf8 } from "../bytes.ts";
import { PROGRESS_REQUEST } from "../api/run.ts";
import { isSessionName } from "../names.ts";
import type { SessionKey, SessionStart, SessionTable, Turn } from "../session/table.ts";
import type { Logins } from "./logins.ts";
import { type Place, placeInside, placeOnMachine } from "./place.ts";
import { type AllowedRun, allowRun, type PathLookup } from "./policy.ts";
import type { AgentRules } from "./rules.ts";
import { type Ended, logFields, type SessionEnd, tell, toRunEnded } from "./run_end.ts";
import type { RunSpool } from "./run_spool.ts";
import { toldCommand, toldText } from "./told_command.ts";
import { isOurs, readWantedRun, type WantedRun } from "./run_request.ts";

export interface ExecDeps {
  readonly backends: readonly IsolationBackend[];
  readonly rules: AgentRules;
  readonly lookup: PathLookup;
  readonly sessions: Pick<SessionTable, "enter" | "end">;
  readonly spool: Pick<RunSpool, "start" | "end">;
  readonly logins: Logins;
  readonly nodeId: string;
  readonly clock: Clock;
  /** Aborts when the agent ends, or its user is revoked: what runs is ended with it. */
  readonly stopping: AbortSignal;
}

/** Resolves when the channel is ended and nothing of the run goes on. */
export async function serveChannel(
  channel: ServerChannel<VerifiedUser>,
  deps: ExecDeps,
): Promise<void> {
  const { proof: user } = channel, startedAt = deps.clock.now();
  const known = { user_id: user.userId, serial: String(user.serial) };
  let told: Promise<number> | undefined;
  const finish = async (ended: Ended, runId?: string, session?: SessionEnd) => {
    if (told) {
      const duration_ms = Math.max(0, deps.clock.now() - startedAt);
      const end = { ...known, run_id: runId ?? null, duration_ms, ...toRunEnded(ended) };
      deps.spool.end(await told, end);
    }
    await tell(ended, channel, session);
    log("agent", "run").info("run ended", {
      user: user.userName,
      ...(user.session !== undefined && { session: user.session }),
      serial: String(user.serial),
      ...(runId !== undefined && { run: runId }),
      ...logFields(ended),
      ms: deps.clock.now() - startedAt,
    });
  };

  let wanted: WantedRun | undefined, process: Process, turn: Turn | undefined;
  let early: readonly string[] = [];
  await using stack = new AsyncDisposableStack();
  try {
    wanted = await readWantedRun(channel);
    const session = checkPermission(user, wanted);
    if (wanted.kind === "end_session") {
      await deps.sessions.end(session!);
      return await finish(SESSION_ENDED, wanted.runId, { created: false, ended: true });
    }
    told = deps.spool.start({
      ...known,
      run_id: wanted.runId ?? null,
      token_id: user.tokenId ?? null,
      session: user.session ?? null,
      isolation: toldText(user.isolation ?? wanted.isolation, MAX_TOLD_ISOLATION),
      login: user.login ?? null,
      ...toldCommand(wanted.line, deps.rules.toldCommand),
    });
    using patience = startPatience(channel, wanted, session, deps);
    early = patience.signals;
    const { options } = patience;
    const start = await prepareStart(user, wanted, deps, options);
    await told; // before anything happens
    if (session) {
      turn = stack.use(await deps.sessions.enter(session, toSessionStart(start), options));
      // a run of a session without a line is refused by checkPermission
      process = await turn.run({ ...wanted, line: wanted.line! });
    } else process = stack.use(await startRun(start, wanted, options));
  } catch (error) {
    const failure = toOpenboxError(error);
    const kind = failure.code === "lost" ? "lost" : "not_started";
    return await finish({ kind, error: failure }, wanted?.runId, turn && stateOf(turn));
  }
  const ended = await attend(process, wanted, channel, early, deps);
  await finish(ended, wanted.runId, turn && stateOf(turn));
  if (turn?.ended && !channel.closed.aborted) turn.told();
}

/** Of the audit: what a caller asked for may be any text. */
const MAX_TOLD_ISOLATION = 128;

const SESSION_ENDED: Ended = { kind: "exit", code: 0 };
const stateOf = ({ created, ended }: Turn): SessionEnd => ({ created, ended });

/** In what the command starts, or the session that it is the first command of. */
interface Start {
  readonly backend: IsolationBackend;
  readonly allowed: AllowedRun;
  readonly place: Place;
}

async function prepareStart(
  user: VerifiedUser,
  { isolation, confinement }: WantedRun,
  { backends, rules, lookup, logins, nodeId }: ExecDeps,
  options: RunOptions,
): Promise<Start> {
  const spec = chooseIsolation(user.isolation, isolation);
  const backend = backends.find(({ kind }) => kind === spec.kind);
  if (!backend) {
    throw new OpenboxError(
      "isolation_unavailable",
      `This node cannot run commands in ${formatIsolation(spec)}`,
      { hint: `it has ${backends.map(({ kind }) => kind).join(", ")}` },
    );
  }
  const allowed = await allowRun({ spec, login: user.login, confinement }, rules, lookup);
  const place = spec.kind === "native"
    ? placeOnMachine(await logins.find(allowed.login), nodeId)
    : placeInside(allowed.spec, backend, { lang: logins.own.lang, nodeId, options });
  return { backend, allowed, place };
}

async function startRun(
  { backend, allowed, place }: Start,
  wanted: WantedRun,
  options: RunOptions,
): Promise<Process> {
  const { line, terminal, cwd, env } = wanted;
  return await backend.run(allowed.spec, {
    line: line ?? await place.shellLine(),
    env: { ...place.env, ...(terminal && { TERM: terminal.term }), ...env },
    cwd: place.cwd(cwd),
    confinement: allowed.confinement,
    account: place.account,
    terminal,
  }, options);
}

const toSessionStart = ({ backend, allowed, place }: Start): SessionStart => ({
  backend,
  spec: allowed.spec,
  asked: allowed.asked,
  env: place.env,
  cwd: place.cwd(undefined),
  confinement: allowed.confinement,
  account: place.account,
  dialect: () => place.dialect(),
});

/**
 * Until the command has started: how long somebody waits for it, which is as long as its caller does, the
 * agent goes on, and the time-out lasts that was set for it. Our own client is told how far it is.
 */
interface Patience extends Disposable {
  readonly options: RunOptions & Required<AbortOptions>;
  /** That came meanwhile. One that ends a command ends the wait; where it came too late, it is the command's. */
  readonly signals: readonly string[];
}

function startPatience(
  channel: ServerChannel<VerifiedUser>,
  { timeoutMs }: WantedRun,
  session: SessionKey | undefined,
  { clock, stopping }: ExecDeps,
): Patience {
  const over = new AbortController(), unwanted = new AbortController();
  if (timeoutMs !== undefined) {
    sleepLong(timeoutMs, clock, over.signal).then(() => unwanted.abort(late(session)), () => {});
  }
  const signals: string[] = [];
  channel.onSignal((name) => {
    signals.push(name);
    if (ENDING.has(name)) {
      unwanted.abort(new OpenboxError("cancelled", `SIG${name} ended the wait for the command`));
    }
  });
  let told = false;
  const tellProgress = (text: string) => {
    if (over.signal.aborted || !isOurs(channel)) return;
    told = text !== "";
    channel.sendRequest(PROGRESS_REQUEST, utf8(text));
  };
  return {
    signals,
    options: {
      signal: AbortSignal.any([channel.closed, stopping, unwanted.signal]),
      onProgress: tellProgress,
    },
    [Symbol.dispose]() {
      if (told) tellProgress("");
      over.abort(DONE);
    },
  };
}

const ENDING: ReadonlySet<string> = new Set(["HUP", "INT", "KILL", "QUIT", "TERM"]);

const late = (session: SessionKey | undefined) =>
  session
    ? new OpenboxError(
      "too_many",
      `The session ${session.name} was not free before the time-out`,
      { hint: "openbox sessions shows it; openbox session end ends it with what runs in it" },
    )
    : new OpenboxError("too_many", "The command could not start before its time-out", {
      hint: "its tree was busy, or its image is still pulled: a longer --timeout",
    });

/** What the certificate fixes, held or refused; never something else in its place. Returns its session. */
function checkPermission(
  user: VerifiedUser,
  { kind, line, terminal }: WantedRun,
): SessionKey | undefined {
  const { userId, session: name } = user;
  if (name !== undefined && !isSessionName(name)) {
    throw new OpenboxError("session_not_authorized", "The certificate's session is no name");
  }
  if (kind === "end_session" && name === undefined) {
    throw new OpenboxError("session_not_authorized", "The certificate is for no session");
  }
  if (kind === "run" && name !== undefined && (terminal || !line)) {
    throw new OpenboxError("not_supported", "A session has no terminal, and needs a command", {
      hint: "give a command, or leave the session out",
    });
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
  return name === undefined ? undefined : { userId, name };
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
  early: readonly string[],
  { clock, stopping }: ExecDeps,
): Promise<Ended> {
  const over = new AbortController();
  let timedOut = false;
  void feed(process, input, channel); // ends with the process, or with the channel
  channel.onResize((size) => process.resize(size));
  const deliver = (name: string) => {
    if (SIGNALS.has(name)) process.kill(`SIG${name}` as Deno.Signal);
  };
  early.forEach(deliver);
  channel.onSignal(deliver);
  const failed = (error: unknown) => log("agent", "run").error("a run does not end", { error });
  const terminate = () => void process.terminate().catch(failed);
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
    const [ended] = await Promise.all([
      process.exit.catch(asLost),
      pass(process.stdout, "stdout", channel),
      pass(process.stderr, "stderr", channel),
    ]);
    // whoever asked is told why, where somebody ended it; what it would have come to nobody knows
    if (stopping.reason instanceof OpenboxError) return { kind: "lost", error: stopping.reason };
    return timedOut ? { kind: "timeout" } : ended;
  } finally {
    over.abort(DONE);
  }
}

function asLost(error: unknown): Ended {
  if (error instanceof OpenboxError && error.code === "lost") return { kind: "lost", error };
  throw error;
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
