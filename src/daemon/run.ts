/** The daemon as a process: its socket, its log, its end. */
import { utf8 } from "../bytes.ts";
import { openLogFile } from "../home/log_file.ts";
import type { Host } from "../host.ts";
import { log, startLog } from "../log.ts";
import { takeSupervisor } from "../supervisor.ts";
import { answers } from "./answers.ts";
import type { IdentitySource } from "./identity.ts";
import { listenAlone } from "./listen_alone.ts";
import type { DaemonSettings } from "./settings.ts";
import { serveDaemon } from "./start.ts";

/** Throws `conflict` where another one serves. */
export async function runDaemon(
  settings: DaemonSettings,
  host: Host,
  source: IdentitySource,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const supervisor = takeSupervisor(host, { directory: settings.home });
  const inherited = await isHandedOver(host);
  const listener = stack.use(
    inherited
      ? await (await import("./listen_inherited.ts")).listenInherited()
      : await listenAlone(settings.socketPath),
  );
  // opened by the one that serves: another does not write into its log
  const stderr = settings.logFile ? stack.use(await openLogFile(settings.logFile)) : host.stderr;
  stack.use(await startLog({ ...host, stderr }));
  log("daemon").info("serving {path}", {
    path: inherited ? "an inherited socket" : settings.socketPath,
  });
  if (!settings.logFile) await host.stdout.write(utf8(`serving ${settings.socketPath}\n`));
  stack.use(await supervisor.ready((options) => answers(settings.socketPath, options)));
  const { open } = source;
  await serveDaemon(listener, settings, { open, clock: host.clock, pid: Deno.pid }, host);
}

async function isHandedOver(host: Host): Promise<boolean> {
  if (host.env("LISTEN_FDS") === undefined) return false;
  const { isInherited } = await import("./listen_inherited.ts");
  return isInherited(host, Deno.pid);
}
