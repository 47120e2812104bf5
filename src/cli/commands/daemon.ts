/** `openbox daemon`: serves this home's commands, and what a person asks of one that does. */
import { createControlClient } from "../../client/control_client.ts";
import { OpenboxError } from "../../errors.ts";
import { homePaths } from "../../home/paths.ts";
import { readSettings } from "../../home/settings_file.ts";
import { readTextTail } from "../../home/log_file.ts";
import type { Host } from "../../host.ts";
import type { DaemonStatus } from "../../ipc/messages.ts";
import { askDaemon } from "../ask_daemon.ts";
import type { JsonFlags } from "../flags.ts";
import { IDENTITY_VARIABLES } from "../hot_path.ts";
import { findLogin, loginWarnings } from "../login.ts";
import { printJson, printLine } from "../output.ts";
import { formatDuration } from "../duration.ts";
import { runDeps } from "./run.ts";

/** The flags of `openbox daemon`, as the tree reads them. */
export interface DaemonFlags {
  readonly socket?: string;
  readonly logFile?: string;
}

/** Serves until a signal, `openbox daemon stop`, or half an hour without a command. */
export async function daemon(flags: DaemonFlags, host: Host): Promise<void> {
  const { runDaemon } = await import("../../daemon/run.ts");
  const { readDaemonSettings } = await import("../../daemon/settings.ts");
  await runDaemon(readDaemonSettings(flags, host), host, { open: () => openIdentity(host) });
}

/** The login of the home, whatever the environment says: callers may have another. */
async function openIdentity(process: Host) {
  const foreign: readonly string[] = IDENTITY_VARIABLES;
  const host: Host = {
    ...process,
    env: (name) => foreign.includes(name) ? undefined : process.env(name),
  };
  const daemonRefused = (await readSettings(homePaths(host).settings)).daemon === "never";
  const login = await findLogin(host);
  const control = createControlClient(login);
  return {
    deps: { ...await runDeps(login, host), control },
    warnings: () => loginWarnings(login, host.clock.now()),
    daemonRefused,
    [Symbol.asyncDispose]: () => control[Symbol.asyncDispose](),
  };
}

export async function daemonStatus({ json }: JsonFlags, host: Host): Promise<number> {
  const answer = await askDaemon({ ask: "status" }, host);
  const status = answer as unknown as DaemonStatus | undefined;
  if (json) await printJson(status ? { running: true, ...status } : { running: false }, host);
  else if (!status) await printLine("no daemon runs; the first command starts one", host);
  else await printStatus(status, host);
  return status ? 0 : NOT_RUNNING;
}

/** As systemctl has it. */
const NOT_RUNNING = 3;

async function printStatus(status: DaemonStatus, host: Host): Promise<void> {
  const { pid, version, runs, connections, idle_end_in_seconds: left } = status;
  const since = formatDuration((Math.floor(host.clock.now() / 1000) - status.started_at) * 1000);
  await printLine(`openboxd ${version}, process ${pid}, for ${since}`, host);
  await printLine(
    left === null
      ? `${runs} commands run`
      : `nothing runs; it ends in ${formatDuration(left * 1000)}`,
    host,
  );
  for (const { node_name, node_id, runs } of connections) {
    await printLine(`warm: ${node_name} (${node_id}), ${runs} commands`, host);
  }
}

export async function daemonStop({ json }: JsonFlags, host: Host): Promise<void> {
  const answer = await askDaemon({ ask: "stop" }, host);
  if (json) await printJson({ stopped: answer !== undefined }, host);
  else await printLine(answer ? "the daemon ends" : "no daemon runs", host);
}

export async function daemonLogs(_: unknown, host: Host): Promise<void> {
  const path = homePaths(host).daemonLog;
  const text = await readTextTail(path);
  if (text === undefined) {
    throw new OpenboxError("not_found", `There is no log at ${path}`, {
      hint: "one that a person or a service manager started logs to its stderr, or to the journal",
    });
  }
  await host.stdout.write(new TextEncoder().encode(text));
}
