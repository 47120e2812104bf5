/** The text of systemd's units. Type=notify: src/supervisor.ts is the other end. */
import { CONTROL_ENV_FILE, type ServiceSpec } from "./service.ts";

export interface Unit {
  readonly name: string;
  readonly text: string;
}

export const CONTROL_HOME = "/var/lib/openbox";

export function systemdUnits(spec: ServiceSpec): readonly Unit[] {
  switch (spec.service) {
    case "agent":
      return [{ name: "openbox-agent.service", text: agent(spec) }];
    case "control":
      return [
        { name: "openbox-control.service", text: control(spec) },
        { name: "openbox-user.service", text: CONTROL_USER },
      ];
    case "daemon":
      return [
        { name: "openboxd.socket", text: daemonSocket(spec) },
        { name: "openboxd.service", text: daemon(spec) },
      ];
  }
}

const head = ({ service }: ServiceSpec, edit: string) =>
  `# Written by \`openbox service install ${service}\`, which writes it anew: changes of yours go in with
# \`${edit}\`.
`;

/** A process that hangs is not asked: SIGABRT would only wait, and then leave its memory on the disk. */
const LIVES = `WatchdogSec=2min
WatchdogSignal=SIGKILL`;

const agent = (spec: ServiceSpec) => {
  const isSystem = spec.scope === "system";
  return `${head(spec, `systemctl ${isSystem ? "" : "--user "}edit openbox-agent`)}[Unit]
Description=openbox agent
${isSystem ? "Wants=network-online.target\nAfter=network-online.target\n" : ""}
[Service]
Type=notify
ExecStart=${execStart(spec)}
Environment=${quote(`OPENBOX_HOME=${spec.home}`)}
${isSystem ? directories("openbox-agent") : ""}UMask=0077
TimeoutStartSec=2min
TimeoutStopSec=30s
${LIVES}
Restart=on-failure
RestartSec=5s
# the settings, a file or the control plane say no (docs/cli.md): another start would hear the same
RestartPreventExitStatus=2 3
# ended while it started
SuccessExitStatus=143
# the agent ends what runs, also when it is killed; what a finished run left in the background stays, as with sshd
KillMode=process
# a group for each command, so that it can have limits
Delegate=yes
TasksMax=infinity
# a command that ran out of memory is no failure of the agent
OOMPolicy=continue
${
    isSystem
      ? "# commands have 500: where memory runs out, they go first\nOOMScoreAdjust=-500\n"
      : ""
  }
[Install]
WantedBy=${isSystem ? "multi-user.target" : "default.target"}
${spec.lingers ? LINGERS : ""}`;
};

/** What \`uninstall\` finds out that it has to undo; systemd leaves sections with such a name alone. */
export const LINGERS = `
[X-Openbox]
Lingers=yes
`;

/** Deno compiles to machine code as it runs, so MemoryDenyWriteExecute= is not for it. */
const control = (spec: ServiceSpec) =>
  `${head(spec, "systemctl edit openbox-control")}[Unit]
Description=openbox control plane
Wants=network-online.target
After=network-online.target openbox-user.service
Requires=openbox-user.service

[Service]
Type=notify
ExecStart=${execStart(spec)}
Environment=${quote(`OPENBOX_HOME=${spec.home}`)}
# settings that are secrets, such as OPENBOX_DB with a password; of mode 0600
EnvironmentFile=-${CONTROL_ENV_FILE}
${directories("openbox")}User=openbox
Group=openbox
UMask=0077
# it may wait for its database as long as that takes
TimeoutStartSec=infinity
TimeoutStopSec=30s
${LIVES}
Restart=on-failure
RestartSec=2s
# the settings or a file say no: another start would hear the same
RestartPreventExitStatus=2 3
# ended while it started
SuccessExitStatus=143
LimitNOFILE=65536
# the CA's keys are in its memory
LimitCORE=0
${
    spec.lowPort
      ? `AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE`
      : `AmbientCapabilities=
CapabilityBoundingSet=
PrivateUsers=yes`
  }
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;

/** A unit of its own: a service whose user is not there yet cannot make him. */
const CONTROL_USER =
  `# Written by \`openbox service install control\`. Makes the user of the control plane, unless there is one.
[Unit]
Description=The user of openbox's control plane

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=systemd-sysusers --inline "u openbox - \\"openbox control plane\\" ${CONTROL_HOME}"
`;

const daemonSocket = (spec: ServiceSpec) =>
  `${head(spec, "systemctl --user edit openboxd.socket")}[Unit]
Description=openbox daemon: the socket that starts it

[Socket]
ListenStream=${escapeSpecifiers(spec.home)}/openboxd.sock
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`;

/** It ends by itself when nobody asks for long, and is started again by who does. */
const daemon = (spec: ServiceSpec) =>
  `${head(spec, "systemctl --user edit openboxd")}[Unit]
Description=openbox daemon
Requires=openboxd.socket
After=openboxd.socket

[Service]
Type=notify
ExecStart=${execStart(spec)}
Environment=${quote(`OPENBOX_HOME=${spec.home}`)}
UMask=0077
TimeoutStartSec=30s
TimeoutStopSec=15s
${LIVES}
Restart=on-failure
RestartSec=1s
RestartPreventExitStatus=2 3
SuccessExitStatus=143
# the keys are in its memory
LimitCORE=0
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
`;

const directories = (name: string) =>
  `Environment=OPENBOX_CACHE=/var/cache/${name}
StateDirectory=${name}
StateDirectoryMode=0700
CacheDirectory=${name}
CacheDirectoryMode=0700
`;

/** The path is no word: `$` means nothing in it. */
const execStart = ({ program, service, flags }: ServiceSpec): string =>
  [quote(program), ...[service, ...flags].map((word) => quote(word, "$"))].join(" ");

/** As systemd.syntax(7) and systemd.service(5) have it: `%` begins a specifier, `$` a variable. */
function quote(word: string, variables?: "$"): string {
  const escaped = escapeSpecifiers(variables ? word.replaceAll("$", "$$$$") : word);
  if (/^[\w@%+=:,./$-]+$/.test(escaped)) return escaped;
  const inside = escaped.replace(/[\\"]/g, "\\$&").replace(
    CONTROL,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${inside}"`;
}

// deno-lint-ignore no-control-regex -- a line's end would begin a setting of its own
const CONTROL = /[\x00-\x1f\x7f]/g;

const escapeSpecifiers = (text: string): string => text.replaceAll("%", "%%");
