/** A command as a caller asks for it, and as it crosses to the node. */
import { MAX_RUN_REQUEST, type RunLimits, type RunRequest } from "../api/run.ts";
import { concat, toBase64, utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import type { TerminalRequest } from "../ssh/screen.ts";
import { u32 } from "../ssh/wire.ts";

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

/** The request as it goes before the input: a length and JSON. Throws `command_too_long`. */
export function encodeRequest(
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
