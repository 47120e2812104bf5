/** The commands for what openbox is on this machine: its services, and whether all is well with it. */
import { buildRouteMap } from "@stricli/core";
import { command, type Context } from "./command.ts";
import type {
  InstallAgentFlags,
  InstallControlFlags,
  InstallFlags,
  ServiceFlags,
} from "./commands/service.ts";
import { argument, JSON_FLAG, type JsonFlags, switchFlag } from "./flags.ts";
import { AGENT_FLAGS, CONTROL_FLAGS } from "./mode_flags.ts";

const INSTALL_FLAGS = {
  dryRun: switchFlag("Show the files and commands, and do nothing"),
  json: JSON_FLAG,
} as const;

const installAgent = command<InstallAgentFlags>({
  brief: "Have this machine be a node, also after a restart",
  about:
    `As root it is a service of the machine and keeps its files in /var/lib/openbox-agent (macOS: /var/db/openbox-agent), else one of yours with your home. The flags are those of \`openbox agent\`. The enroll token is left in a file that the agent removes once it is enrolled.

Examples:
  OPENBOX_ENROLL_TOKEN=enroll_… openbox service install agent --server https://box.example.com
  openbox service install agent --server https://box.example.com --dry-run`,
  parameters: { flags: { ...AGENT_FLAGS, ...INSTALL_FLAGS }, aliases: { t: "tag" } },
  startsPrograms: true,
  load: async () => (await import("./commands/service.ts")).installAgent,
});

const { newToken: _command, ...CONTROL_SERVICE_FLAGS } = CONTROL_FLAGS;

const installControl = command<InstallControlFlags>({
  brief: "Have a control plane on this machine, also after a restart",
  about:
    `As root, on Linux: it runs as the user openbox, locked in, with its files in /var/lib/openbox. The flags are those of \`openbox control\`. Settings that are secrets go into /etc/openbox/control.env, mode 0600, as NAME=value lines.

Examples:
  openbox service install control --addr :8443 --url https://box.example.com:8443 \\
    --tls-cert /etc/openbox/tls.crt --tls-key /etc/openbox/tls.key`,
  parameters: { flags: { ...CONTROL_SERVICE_FLAGS, ...INSTALL_FLAGS } },
  startsPrograms: true,
  load: async () => (await import("./commands/service.ts")).installControl,
});

const installDaemon = command<InstallFlags>({
  brief: "Have systemd or launchd start the daemon, in place of the first command",
  parameters: { flags: INSTALL_FLAGS },
  startsPrograms: true,
  load: async () => (await import("./commands/service.ts")).installDaemon,
});

const which = (kind: string) =>
  argument("SERVICE", kind, {
    proposeCompletions: () => Promise.resolve(["agent", "control", "daemon"]),
  });

const uninstall = command<ServiceFlags, [string]>({
  brief: "End a service, and remove all of it but what it keeps",
  parameters: {
    flags: INSTALL_FLAGS,
    positional: { kind: "tuple", parameters: [which("agent, control or daemon")] },
  },
  startsPrograms: true,
  load: async () => (await import("./commands/service.ts")).uninstall,
});

const status = command<JsonFlags, string[]>({
  brief: "Show which services there are, and how they do",
  parameters: {
    flags: { json: JSON_FLAG },
    positional: { kind: "array", parameter: which("One of them only"), maximum: 1 },
  },
  startsPrograms: true,
  load: async () => (await import("./commands/service.ts")).status,
});

export const service = buildRouteMap<string, Context>({
  routes: {
    install: buildRouteMap<string, Context>({
      routes: { agent: installAgent, control: installControl, daemon: installDaemon },
      docs: { brief: "Start with the machine: systemd on Linux, launchd on macOS" },
    }),
    uninstall,
    status,
  },
  docs: { brief: "Run as a service: systemd on Linux, launchd on macOS" },
});

export const doctor = command<JsonFlags>({
  brief: "Find what is wrong with this set-up, and what mends it",
  about:
    `Looks at the executable, the variables, the home and the login, asks the control plane and knocks at each node, and looks at the services and the agent of this machine. Ends with 1 where something is wrong.

Examples:
  openbox doctor
  openbox doctor --json | jq -r '.findings[] | select(.verdict == "wrong") | .hint'`,
  parameters: { flags: { json: JSON_FLAG } },
  startsPrograms: true,
  load: async () => (await import("./commands/doctor.ts")).doctor,
});
