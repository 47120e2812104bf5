/**
 * The way of a command through a daemon that is there already: what this imports is loaded for every
 * command, so it holds no library and no `node:` module (tests/unit/scripts/hot_path_test.ts). Whatever is
 * not plainly that way is left to the other: another command, a fault in the command line, no daemon.
 */
import { homePaths } from "../home/paths.ts";
import { isOn } from "../host.ts";
import { newRunId } from "../ids.ts";
import { generationOf } from "../ipc/generation.ts";
import { isOurSocket } from "../ipc/socket.ts";
import { processHost, processStreams } from "../process_host.ts";
import { carryOut } from "./carry_out.ts";
import { failed } from "./failed.ts";
import { readRunOptions } from "./run_options.ts";
import { splitCommandLine } from "./splitter.ts";
import { type Accepted, greetDaemon } from "./through_daemon.ts";

export interface HotEnd {
  /** The exit code; undefined where the command is to go the other way, nothing having been started. */
  readonly code?: number;
  /** Gives up what was taken of the process. */
  release(): void;
}

const NOT_HOT: HotEnd = { release: () => {} };

/** They say who is calling or what is believed: a daemon goes by its own home alone. */
export const IDENTITY_VARIABLES = [
  "OPENBOX_SERVER",
  "OPENBOX_TOKEN",
  "OPENBOX_CA_FINGERPRINT",
  "OPENBOX_TLS_CA",
  "OPENBOX_INSECURE_HTTP",
] as const;

/** Whether the environment leaves the call to a daemon at all. */
export const mayUseDaemon = (env: (name: string) => string | undefined): boolean =>
  !isOn(env("OPENBOX_NO_DAEMON")) && !IDENTITY_VARIABLES.some((name) => env(name));

export async function runThroughDaemon(args: readonly string[]): Promise<HotEnd> {
  const begun = begin(args);
  if (!begun) return NOT_HOT;
  const call = begun.call, terminal = call.command.terminal !== undefined;
  const greeted = await greetDaemon(begun.connecting, begun.generation);
  if (!greeted) return NOT_HOT;
  await greeted.send(call);
  // while the daemon works there is time for this; until here a signal ended us by itself
  const host = processHost(), { release } = host;
  let accepted: Promise<Accepted>;
  try {
    const taken = await greeted.accepted(host);
    if (!taken) return { release };
    host.dropPermissions({ terminal }); // the other way would start a daemon
    accepted = Promise.resolve(taken);
  } catch (error) {
    accepted = Promise.reject(error);
  }
  const open = async () => (await accepted).started(host);
  const run = { options: call, runId: call.run_id, json: begun.json };
  const code = await carryOut(run, open, host).catch((error) => failed(error, host));
  return { code, release };
}

/** Undefined where the command is none for a node, or no socket of ours is there. */
function begin(args: readonly string[]) {
  const env = (name: string) => Deno.env.get(name) || undefined;
  try {
    const line = splitCommandLine(args);
    if (line.kind !== "run" || !mayUseDaemon(env)) return undefined;
    const { home, daemonSocket: path } = homePaths({ env, cwd: Deno.cwd });
    if (!isOurSocket(path)) return undefined;
    const options = readRunOptions(line.flags, line.words, { env, ...processStreams });
    const connecting = Deno.connect({ transport: "unix", path });
    const call = { run_id: newRunId(), ...options };
    return { call, json: line.flags.has("json"), connecting, generation: generationOf(home) };
  } catch {
    return undefined; // whoever goes the other way finds the same, and says it
  }
}
