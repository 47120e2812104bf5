/** openbox under systemd: which units, and which commands of systemctl and loginctl. */
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import { CONTROL_HOME, systemdUnits } from "./systemd_units.ts";
import type { Placed, Service, ServiceManager, Step } from "./service.ts";

const SYSTEM_DIRECTORY = "/etc/systemd/system";

/** The unit that stands for the service; a socket begins the daemon's. */
const UNIT: Readonly<Record<Service, string>> = {
  agent: "openbox-agent.service",
  control: "openbox-control.service",
  daemon: "openboxd.service",
};
/** What is switched on. */
const ENTRY: Readonly<Record<Service, string>> = { ...UNIT, daemon: "openboxd.socket" };

export interface SystemdOptions {
  /** Where the user's units are: `$XDG_CONFIG_HOME/systemd/user`. */
  readonly userDirectory: string;
  /** The user's number. */
  readonly uid: number;
}

export function systemd({ userDirectory, uid }: SystemdOptions): ServiceManager {
  const user = String(uid);
  const directory = ({ scope }: Placed) => scope === "system" ? SYSTEM_DIRECTORY : userDirectory;
  const systemctl = ({ scope }: Placed, ...words: string[]): Step => ({
    command: ["systemctl", ...(scope === "user" ? ["--user"] : []), ...words],
  });
  return {
    name: "systemd",
    paths: (placed) => unitNames(placed).map((name) => `${directory(placed)}/${name}`),
    files(spec) {
      requireScope(spec);
      return systemdUnits(spec).map(({ name, text }) => ({
        path: `${directory(spec)}/${name}`,
        text,
      }));
    },
    askLingering: ({ service, scope }) =>
      service === "agent" && scope === "user"
        ? {
          // fails for a user of whom it knows nothing
          command: ["loginctl", "show-user", user, "--property=Linger"],
          read: (output) => output.trim() === "Linger=yes",
        }
        : undefined,
    // it takes an administrator's leave on some machines; the service is of use without, too
    prepare: ({ lingers }) =>
      lingers ? [{ command: ["loginctl", "enable-linger", user], mayFail: true }] : [],
    activate: (spec, { changed }) => [
      ...(changed ? [{ ...systemctl(spec, "daemon-reload"), tryAgain: spec.lingers }] : []),
      systemctl(spec, "enable", ENTRY[spec.service]),
      systemctl(spec, changed ? "restart" : "start", ENTRY[spec.service]),
    ],
    deactivate: (placed) => [
      { ...systemctl(placed, "disable", "--now", ...unitNames(placed)), mayFail: true },
      // of one that failed nothing is cleaned
      { ...systemctl(placed, "reset-failed", ...unitNames(placed)), mayFail: true },
      // what it unpacked itself into
      ...(placed.scope === "system"
        ? [{ ...systemctl(placed, "clean", "--what=cache", UNIT[placed.service]), mayFail: true }]
        : []),
    ],
    forget: (placed, { lingers }) => [
      systemctl(placed, "daemon-reload"),
      ...(lingers ? [{ command: ["loginctl", "disable-linger", user], mayFail: true }] : []),
    ],
    askStatus: (placed) => ({
      command: systemctl(placed, "show", ENTRY[placed.service], `--property=${PROPERTIES}`).command,
      read: (output, success) => ({
        unit: ENTRY[placed.service],
        file: `${directory(placed)}/${ENTRY[placed.service]}`,
        ...readShow(success ? output : ""),
      }),
    }),
    systemHome: (service) => service === "agent" ? "/var/lib/openbox-agent" : CONTROL_HOME,
    removeState: ({ service, scope }, home) =>
      scope === "system" && service === "control"
        ? `rm -r ${quoteWord(home)} && userdel openbox`
        : `rm -r ${quoteWord(home)}`,
    logCommand: (placed) =>
      `journalctl ${placed.scope === "user" ? "--user " : ""}-u ${
        UNIT[placed.service].replace(/\.service$/, "")
      } -n 50`,
  };
}

const unitNames = ({ service }: Placed): readonly string[] =>
  service === "daemon"
    ? [ENTRY.daemon, UNIT.daemon]
    : service === "control"
    ? [UNIT.control, "openbox-user.service"]
    : [UNIT.agent];

function requireScope({ service, scope }: Placed): void {
  if (service === "control" && scope === "user") {
    throw new OpenboxError(
      "not_allowed",
      "A control plane as a service has a user of its own, which takes root to make",
      { hint: "sudo openbox service install control" },
    );
  }
  if (service === "daemon" && scope === "system") {
    throw new OpenboxError("not_supported", "The daemon serves one user", {
      hint: "openbox service install daemon, as that user",
    });
  }
}

const PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,MainPID,NRestarts,Delegate,Result";

function readShow(output: string) {
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(output)?.[1] ?? "";
  const active = value("ActiveState"), sub = value("SubState"), pid = Number(value("MainPID"));
  const restarts = value("NRestarts"), result = value("Result");
  const isRunning = active === "active" && (sub === "running" || sub === "listening");
  return {
    enabled: value("UnitFileState") === "enabled",
    state: isRunning
      ? sub
      : active === "activating"
      ? sub === "auto-restart" ? "failing" : "starting"
      : active === "deactivating"
      ? "stopping"
      : active === "failed"
      ? "failed"
      : "stopped",
    pid: pid > 0 ? pid : undefined,
    restarts: restarts === "" ? undefined : Number(restarts),
    delegated: value("Delegate") === "" ? undefined : value("Delegate") === "yes",
    failure: result === "" || result === "success" ? undefined : result,
  };
}
