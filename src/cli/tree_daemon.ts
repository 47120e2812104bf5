/** `openbox daemon` and what is asked of one. */
import { buildRouteMap } from "@stricli/core";
import { command, type Context } from "./command.ts";
import type { DaemonFlags } from "./commands/daemon.ts";
import { JSON_FLAG, type JsonFlags, textFlag } from "./flags.ts";

const serve = command<DaemonFlags>({
  brief: "Keep connections to nodes warm for the commands of this home",
  about:
    `The first command starts one by itself, and it ends after half an hour without a command. daemon = "never" in settings.toml, or OPENBOX_NO_DAEMON=1, goes without.

Examples:
  openbox daemon status
  openbox daemon stop`,
  parameters: {
    flags: {
      socket: textFlag(
        "PATH",
        "The socket (OPENBOX_DAEMON_SOCKET; default openboxd.sock in the home)",
      ),
      logFile: textFlag("FILE", "Write the log there instead of stderr"),
    },
  },
  load: async () => (await import("./commands/daemon.ts")).daemon,
});

const status = command<JsonFlags>({
  brief: "Show whether a daemon runs, and what it keeps warm",
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/daemon.ts")).daemonStatus,
});

const stop = command<JsonFlags>({
  brief: "End the daemon; commands that run have five seconds",
  parameters: { flags: { json: JSON_FLAG } },
  load: async () => (await import("./commands/daemon.ts")).daemonStop,
});

const logs = command({
  brief: "Show the end of the daemon's log",
  parameters: { flags: {} },
  load: async () => (await import("./commands/daemon.ts")).daemonLogs,
});

export const daemon = buildRouteMap<string, Context>({
  routes: { serve, status, stop, logs },
  defaultCommand: "serve",
  docs: { brief: "Keep connections to nodes warm" },
});
