/** What a channel asks to be run: the header of our own subsystem, or a stock client's exec. */
import * as v from "valibot";
import { abortable, deadline } from "../abort.ts";
import { MAX_RUN_REQUEST, RUN_SUBSYSTEM, type RunLimits, RunRequest } from "../api/run.ts";
import { concat, fromBase64 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import type { Confinement } from "../isolation/backend.ts";
import { isGpus, parseMount } from "../isolation/confinement.ts";
import type { ByteSource, ServerChannel } from "../ssh/channel.ts";
import { isEnvName, isTerm } from "../names.ts";
import { clampSize, type TerminalRequest } from "../ssh/screen.ts";

/** A run as its caller wants it; whether they may have it is decided where it starts. */
export interface WantedRun {
  /** `end_session` has no line: it ends the session that the certificate names. */
  readonly kind: "run" | "end_session";
  /** From our own client; a stock one has none. */
  readonly runId: string | undefined;
  /** Undefined: the login's shell. */
  readonly line: Uint8Array | undefined;
  readonly terminal: TerminalRequest | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  readonly timeoutMs: number | undefined;
  /** Empty where nothing is to be held besides the isolation. */
  readonly confinement: Confinement;
  /** What `OPENBOX_ISOLATION` asks for. */
  readonly isolation: string | undefined;
  /** Input that came with the header already. */
  readonly input: Uint8Array;
}

export const ISOLATION_VARIABLE = "OPENBOX_ISOLATION";

/** The `env` requests that are taken: what is openbox's own is the node's to set, but for the isolation asked for. */
export const acceptEnv = (name: string): boolean => isEnvName(name) || name === ISOLATION_VARIABLE;

/** The subsystems that there are: our own. */
export const acceptSubsystem = (name: string): boolean => name === RUN_SUBSYSTEM;

/** Whether our own client asks, who is told the outcome in a request of its own. */
export const isOurs = ({ request }: Pick<ServerChannel<unknown>, "request">): boolean =>
  request.kind === "subsystem" && acceptSubsystem(request.name);

/** Throws an OpenboxError for what cannot be read and for what this version does not do. */
export async function readWantedRun(channel: ServerChannel<unknown>): Promise<WantedRun> {
  const { request } = channel;
  switch (request.kind) {
    case "exec":
    case "shell": {
      const { [ISOLATION_VARIABLE]: isolation, ...env } = Object.fromEntries(channel.env);
      return {
        kind: "run",
        runId: undefined,
        line: request.kind === "exec" ? request.command : undefined,
        terminal: channel.terminal,
        env,
        cwd: undefined,
        timeoutMs: undefined,
        confinement: {},
        isolation,
        input: new Uint8Array(),
      };
    }
    case "subsystem":
      if (!isOurs(channel)) throw notYet(`the subsystem ${JSON.stringify(request.name)}`);
      return await readHeader(channel.input);
  }
}

/** What the protocol knows and this version refuses, so that nothing is half done. */
const notYet = (what: string) =>
  new OpenboxError("not_supported", `This node's openbox does not serve ${what}`, {
    hint: "openbox help run says what there is",
  });

/** How long a caller may be silent within a header. All of it may take long: a line can be slow. */
const SILENCE_MS = 10_000;

async function readHeader(input: ByteSource): Promise<WantedRun> {
  const read = async (parts: Uint8Array[], length: number) => {
    for (let have = parts.reduce((sum, part) => sum + part.length, 0); have < length;) {
      const chunk = await readSoon(input);
      parts.push(chunk);
      have += chunk.length;
    }
    return concat(parts);
  };
  const start = await read([], 4);
  const length = new DataView(start.buffer).getUint32(0);
  if (length > MAX_RUN_REQUEST) {
    throw new OpenboxError(
      "command_too_long",
      `The run's header is ${length} bytes long; ${MAX_RUN_REQUEST} are taken`,
    );
  }
  const all = await read([start], 4 + length);
  return { ...parseHeader(all.subarray(4, 4 + length)), input: all.subarray(4 + length) };
}

async function readSoon(input: ByteSource): Promise<Uint8Array> {
  const late = () => new OpenboxError("bad_request", "The run's header did not come in time");
  using limit = deadline(SILENCE_MS, late);
  const chunk = await abortable(input.read(), limit.signal);
  if (!chunk) throw new OpenboxError("bad_request", "The input ended within the run's header");
  return chunk;
}

function parseHeader(bytes: Uint8Array): Omit<WantedRun, "input"> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new OpenboxError("bad_request", "The run's header is not JSON", { cause });
  }
  const parsed = v.safeParse(RunRequest, json);
  if (!parsed.success) throw malformed(parsed.issues[0]);
  const { kind, run_id, command, pty, env, cwd, timeout_ms, ...limits } = parsed.output;
  const line = command === undefined ? undefined : fromBase64(command);
  if (command !== undefined && !line) {
    throw new OpenboxError("bad_request", "The run's command is not base64");
  }
  const terminal = pty && toTerminal(pty), confinement = toConfinement(limits);
  for (const [name, value] of Object.entries(env)) checkVariable(name, value);
  const wanted = { kind, runId: run_id, line, terminal, env, cwd, confinement };
  return { ...wanted, timeoutMs: timeout_ms, isolation: undefined };
}

function toTerminal({ term, ...size }: TerminalRequest): TerminalRequest {
  if (!isTerm(term)) {
    throw new OpenboxError("bad_request", "The run's header names no kind of terminal");
  }
  return { term, ...clampSize(size) };
}

/** A key that we do not know is something that the caller wants held and that we would not hold. */
function malformed(issue: v.BaseIssue<unknown>): OpenboxError {
  const at = JSON.stringify(v.getDotPath(issue) ?? "");
  if (issue.type === "strict_object" && issue.expected === "never") {
    return new OpenboxError(
      "upgrade_required",
      `This node's openbox does not know ${at} of a run, so it could not hold it`,
      { hint: "update openbox on the node" },
    );
  }
  return new OpenboxError("bad_request", `The run's header is malformed at ${at}`);
}

function toConfinement({ limits, mounts, gpus, net, volatile }: RunLimits): Confinement {
  const { memory_bytes, cpus, pids, shm_bytes } = limits ?? {};
  if (gpus !== undefined && !isGpus(gpus)) {
    throw new OpenboxError("bad_request", "The run's header names GPUs in no form that is known");
  }
  return {
    ...(memory_bytes !== undefined && { memoryBytes: memory_bytes }),
    ...(cpus !== undefined && { cpus }),
    ...(pids !== undefined && { pids }),
    ...(shm_bytes !== undefined && { shmBytes: shm_bytes }),
    ...(gpus !== undefined && { gpus }),
    ...(net !== undefined && { net }),
    ...(mounts && mounts.length > 0 && { mounts: mounts.map(parseMount) }),
    ...(volatile && { volatile }),
  };
}

function checkVariable(name: string, value: string): void {
  if (isEnvName(name) && !value.includes("\0")) return;
  throw new OpenboxError(
    "bad_environment",
    `The variable ${JSON.stringify(name.slice(0, 80))} cannot be set`,
    { hint: "names are letters, digits and _, and OPENBOX_… is the node's own" },
  );
}
