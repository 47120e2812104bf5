/**
 * One command on one node: dispatch, connect, prove, send the request, and stream. `openRun` throws
 * only while nothing has started, so that whoever catches it may try again; from then on the run says
 * itself how it ended, and a connection that breaks is `lost`, never tried again.
 */
import type { Socket } from "node:net";
import * as v from "valibot";
import { abortable, type AbortOptions, abortReason, deadline } from "../abort.ts";
import type { DispatchAnswer } from "../api/dispatch.ts";
import {
  MAX_RUN_REQUEST,
  Outcome,
  OUTCOME_REQUEST,
  PROGRESS_REQUEST,
  RUN_SUBSYSTEM,
  type RunLimits,
  type RunRequest,
} from "../api/run.ts";
import { OPTION } from "../ca/names.ts";
import type { CaTrust } from "../ca/trust.ts";
import { verifyHostCert } from "../ca/verifier.ts";
import { concat, text, toBase64, utf8 } from "../bytes.ts";
import type { Clock } from "../clock.ts";
import { isCode, OpenboxError, toOpenboxError } from "../errors.ts";
import { escape } from "../escape.ts";
import { isNodeId, newRunId } from "../ids.ts";
import { formatIsolation } from "../isolation/spec.ts";
import { parseCertificate } from "../ssh/certificate.ts";
import type { ByteSource, ClientChannel, RemoteExit } from "../ssh/channel.ts";
import {
  AuthRefusedError,
  connectSsh,
  NotAnsweredError,
  type SshConnection,
} from "../ssh/client.ts";
import { ChannelRefusedError } from "../ssh/connection.ts";
import { type PrivateKey, splitLine } from "../ssh/key.ts";
import type { ScreenSize, TerminalRequest } from "../ssh/screen.ts";
import { u32 } from "../ssh/wire.ts";
import type { ControlClient } from "./control_client.ts";
import { type Target, toDispatchRequest } from "./target.ts";
import type { CaAnswer } from "./trust.ts";

export interface RunCommand {
  /** The line for the shell; absent: the login's shell itself. */
  readonly line?: string;
  /** Ends the target's session, and runs nothing. */
  readonly endsSession?: boolean;
  /** Runs in one like this; what it prints then comes as stdout. */
  readonly terminal?: TerminalRequest;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
  /** What the node is to hold besides the isolation, or to refuse. */
  readonly limits?: RunLimits;
  /** Names the run in logs and in `--json`; made when absent. */
  readonly runId?: string;
}

export interface ExecDeps {
  readonly control: ControlClient;
  readonly key: PrivateKey;
  readonly clock: Clock;
  /** Connects to a node's address. */
  dial(addr: string, options: Required<AbortOptions>): Promise<Socket>;
  /** The CA to believe, or a refusal: what was pinned decides. */
  checkCa(answer: CaAnswer): CaTrust | Promise<CaTrust>;
}

/** A command that the node was asked to run. Disposing it closes the connection; the node then ends what still runs. */
export interface RemoteRun extends AsyncDisposable {
  readonly runId: string;
  readonly nodeId: string;
  readonly nodeName: string;
  /** The session was bound by this call: that it starts is no news. */
  readonly sessionBound: boolean;
  readonly stdout: ByteSource;
  readonly stderr: ByteSource;
  /** Input. Resolves once it is on its way; false when the command takes no more. */
  write(bytes: Uint8Array): Promise<boolean>;
  endInput(): void;
  /** To the command's whole group; the name without SIG. */
  signal(name: string): void;
  /** The terminal's size from now on. */
  resize(size: ScreenSize): void;
  /** Nobody reads stdout any more: the command finds its pipe closed. What still comes is thrown away. */
  closeOutput(): void;
  /** Calls with what the node does before the command can start, a line of text at a time; empty once that is over. */
  onProgress(handler: (text: string) => void): void;
  /** How it ended, once both outputs are read. Never rejects: what nobody can tell is `lost`. */
  readonly end: Promise<Outcome>;
}

/** From the dial to the open channel, tries included (docs/protocol.md). */
const CONNECT_MS = 10_000;
/** Between tries where the node's waiting line was full, the half of it at random. */
const RETRY_MS = 300;

export async function openRun(
  target: Target,
  command: RunCommand,
  deps: ExecDeps,
  { signal }: Required<AbortOptions>,
): Promise<RemoteRun> {
  const runId = command.runId ?? newRunId();
  const request = encodeRequest(runId, command);
  const answer = await deps.control.dispatch(toDispatchRequest(target, deps.key), { signal });
  const ca = await deps.checkCa(answer);
  checkAnswer(answer, target);

  await using stack = new AsyncDisposableStack();
  const channel = await openChannel(answer, ca, deps, stack, signal);
  await abortable(channel.write(request), signal); // where it is not taken, the end says why
  const owned = stack.move();
  return {
    runId,
    nodeId: answer.node_id,
    nodeName: answer.node_name,
    sessionBound: answer.session_created,
    stdout: channel.stdout,
    stderr: channel.stderr,
    write: (bytes) => channel.write(bytes),
    endInput: () => channel.endInput(),
    signal: (name) => channel.signal(name),
    resize: (size) => channel.resize(size),
    closeOutput: () => channel.closeOutput(),
    onProgress: (handler) =>
      channel.onRequest(PROGRESS_REQUEST, (payload) => handler(escape(text(payload)))),
    end: readEnd(channel, answer.node_name),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function encodeRequest(
  runId: string,
  { line, endsSession, terminal, env, cwd, timeoutMs, limits }: RunCommand,
): Uint8Array {
  const request: RunRequest = {
    kind: endsSession ? "end_session" : "run",
    run_id: runId,
    ...(line !== undefined && { command: toBase64(utf8(line)) }),
    ...(terminal && { pty: terminal }),
    ...(env && { env }),
    ...(cwd !== undefined && { cwd }),
    ...(timeoutMs !== undefined && { timeout_ms: timeoutMs }),
    ...limits,
  };
  const json = utf8(JSON.stringify(request));
  if (json.length > MAX_RUN_REQUEST) {
    throw new OpenboxError(
      "command_too_long",
      `The command and its environment are ${json.length} bytes long; ${MAX_RUN_REQUEST} can be sent`,
      { hint: "send what is long by stdin: openbox -t TAG sh -s < script" },
    );
  }
  return concat([u32(json.length), json]);
}

/** What the control plane answered must be what was asked for, whoever speaks for it. */
function checkAnswer(answer: DispatchAnswer, target: Target): void {
  if (target.node !== undefined && isNodeId(target.node) && answer.node_id !== target.node) {
    throw new OpenboxError(
      "host_key_mismatch",
      `The control plane answered with ${answer.node_id} when asked for ${target.node}`,
    );
  }
  const login = parseCertificate(splitLine(answer.user_cert).blob).critical.get(OPTION.login);
  if (login !== target.login) {
    throw new OpenboxError(
      "login_not_allowed",
      `The control plane certified ${login ?? "no login"}; ${target.login ?? "none"} was asked for`,
      { hint: "is it older than this openbox?" },
    );
  }
  if (!target.isolation) return;
  const isolation = formatIsolation(target.isolation);
  if (answer.isolation !== isolation) {
    throw new OpenboxError(
      "isolation_not_allowed",
      `The control plane allows ${answer.isolation}; ${isolation} was asked for`,
    );
  }
}

/** The whole way to the open channel, in one budget of time. `stack` owns the connection. */
async function openChannel(
  answer: DispatchAnswer,
  ca: CaTrust,
  deps: ExecDeps,
  stack: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<ClientChannel> {
  const { node_name: name, addr } = answer;
  let lastTry = "";
  const tooLate = () =>
    new OpenboxError(
      "node_timeout",
      `The node ${name} at ${addr} did not answer within ${CONNECT_MS / 1000} s${lastTry}`,
      { hint: "openbox nodes" },
    );
  using limit = deadline(CONNECT_MS, tooLate, { signal });
  try {
    const connection = stack.use(
      await connect(answer, ca, deps, {
        signal: limit.signal,
        onRetry: ({ message }) => lastTry = `: ${message}`,
      }),
    );
    return await connection.openSubsystem(RUN_SUBSYSTEM, limit);
  } catch (error) {
    throw limit.signal.aborted ? abortReason(limit.signal) : refusal(error, answer);
  }
}

async function connect(
  answer: DispatchAnswer,
  ca: CaTrust,
  deps: ExecDeps,
  { signal, onRetry }: Required<AbortOptions> & { onRetry(error: Error): void },
): Promise<SshConnection> {
  for (;;) {
    try {
      return await connectOnce(answer, ca, deps, signal);
    } catch (error) {
      if (!(error instanceof NotAnsweredError) || signal.aborted) throw error;
      onRetry(error);
      // its waiting line was full: nothing ran, and soon there is room
      await deps.clock.sleep(RETRY_MS * (1 + Math.random()) / 2, { signal });
    }
  }
}

async function connectOnce(
  answer: DispatchAnswer,
  ca: CaTrust,
  deps: ExecDeps,
  signal: AbortSignal,
): Promise<SshConnection> {
  const socket = await deps.dial(answer.addr, { signal });
  return await connectSsh({
    socket,
    username: answer.principal,
    key: deps.key,
    certificate: splitLine(answer.user_cert).blob,
    verifyHost: (certificate) =>
      verifyHostCert(certificate, {
        authorities: ca.host.keys,
        nodeId: answer.node_id,
        now: deps.clock.now(),
      }).key,
    signal,
  });
}

/** Why there is no connection, in words for the person who asked. Nothing has started. */
function refusal(error: unknown, answer: DispatchAnswer): OpenboxError {
  const { node_name: name, addr } = answer;
  if (error instanceof AuthRefusedError) return authRefusal(error.banner, name);
  if (error instanceof OpenboxError) {
    return new OpenboxError(error.code, error.message, {
      hint: error.hint ?? "openbox nodes shows the address; another machine may have it now",
      cause: error,
    });
  }
  if (error instanceof ChannelRefusedError) {
    return new OpenboxError("unavailable", `The node ${name} takes no command: ${error.message}`, {
      hint: "too many run on it, or its openbox is older than this one",
      cause: error,
    });
  }
  const { code } = error as { code?: string };
  const reason = code === "ECONNREFUSED"
    ? `nothing listens on ${addr}`
    : `${addr}: ${toOpenboxError(error).message}`;
  return new OpenboxError("node_unreachable", `Cannot reach the node ${name}: ${reason}`, {
    hint: "is `openbox agent` running there? openbox nodes shows what is online",
    cause: error,
  });
}

/** The agent tells the holder of a certificate that our CA signed, and nobody else, why it refuses. */
function authRefusal(banner: string | undefined, name: string): OpenboxError {
  const told = /^openbox: ([a-z_]+): (.*)$/.exec(banner ?? "");
  if (!told || !isCode(told[1]!)) {
    return new OpenboxError("cert_refused", `The node ${name} refused us and gave no reason`, {
      hint: "its agent may belong to another control plane; its log says more",
    });
  }
  // one that was issued a moment ago cannot have ended: the clocks differ
  const code = told[1] === "cert_expired" ? "clock_skew" : told[1];
  return new OpenboxError(code, `The node ${name} refused us: ${told[2]}`, {
    hint: code === "clock_skew" ? "compare `date -u` on both machines" : undefined,
  });
}

async function readEnd(channel: ClientChannel, name: string): Promise<Outcome> {
  let exit: RemoteExit | undefined, why = "it closed without saying how the command ended";
  try {
    exit = await channel.exit;
  } catch (error) {
    why = toOpenboxError(error).message;
  }
  // what the node knows stands above the bare status, also when the connection broke after it
  const told = parseOutcome(channel.received(OUTCOME_REQUEST));
  if (told) return told;
  if (exit) return fromExit(exit);
  return {
    outcome: "lost",
    code: 255,
    signal: null,
    session: null,
    error: {
      code: "lost",
      message: `The connection to ${name} is lost while the command ran: ${why}`,
      hint: "whether it ended is unknown; what was still running is ended by the node",
    },
  };
}

function parseOutcome(payload: Uint8Array | undefined): Outcome | undefined {
  if (!payload) return undefined;
  try {
    const outcome = v.parse(Outcome, JSON.parse(text(payload)));
    return { ...outcome, code: exitByte(outcome.code) };
  } catch {
    return undefined;
  }
}

/** From a far end without our outcome, such as stock sshd. */
function fromExit(exit: RemoteExit): Outcome {
  const rest = { error: null, session: null };
  if (exit.kind === "exit") {
    return { outcome: "exit", code: exitByte(exit.code), signal: null, ...rest };
  }
  const number = SIGNALS[exit.signal];
  const code = number === undefined ? 255 : 128 + number;
  return { outcome: "signal", code, signal: exit.signal, ...rest };
}

/** A process exits with a byte: 256 would wrap to success. */
const exitByte = (code: number): number =>
  Number.isInteger(code) && code >= 0 && code <= 255 ? code : 255;

/** The signals of RFC 4254 §6.10 and their numbers, the same on Linux and macOS but for USR1 and USR2. */
const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  ABRT: 6,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
};
