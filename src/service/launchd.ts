/** openbox under launchd, macOS's manager of services: one plist a service, and which commands of launchctl. */
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import type { Placed, ServiceManager, ServiceSpec, Step } from "./service.ts";

export interface LaunchdOptions {
  /** The user's home directory and number. */
  readonly userHome: string;
  readonly uid: number;
}

export function launchd({ userHome, uid }: LaunchdOptions): ServiceManager {
  const label = ({ service }: Placed) => `io.openbox.${service}`;
  const domain = ({ scope }: Placed) => scope === "system" ? "system" : `gui/${uid}`;
  const target = (placed: Placed) => `${domain(placed)}/${label(placed)}`;
  const file = (placed: Placed) =>
    `${placed.scope === "system" ? "" : userHome}/Library/${
      placed.scope === "system" ? "LaunchDaemons" : "LaunchAgents"
    }/${label(placed)}.plist`;
  const logFile = (placed: Placed) =>
    `${placed.scope === "system" ? "" : userHome}/Library/Logs/openbox-${placed.service}.log`;
  const launchctl = (...words: string[]): Step => ({ command: ["launchctl", ...words] });
  return {
    name: "launchd",
    paths: (placed) => [file(placed)],
    files(spec) {
      requireScope(spec);
      return [{ path: file(spec), text: plist(spec, { label: label(spec), log: logFile(spec) }) }];
    },
    askLingering: () => undefined,
    prepare: () => [],
    activate: (spec, { changed }) => [
      // what runs by the old file knows nothing of the new one
      ...(changed ? [{ ...launchctl("bootout", target(spec)), mayFail: true }] : []),
      launchctl("enable", target(spec)),
      // fails where it is known already
      { ...launchctl("bootstrap", domain(spec), file(spec)), mayFail: !changed },
      launchctl("kickstart", target(spec)),
    ],
    deactivate: (placed) => [{ ...launchctl("bootout", target(placed)), mayFail: true }],
    forget: () => [],
    askStatus: (placed) => ({
      command: launchctl("print", target(placed)).command,
      read: (output, success) => ({
        unit: label(placed),
        file: file(placed),
        ...readPrint(success ? output : undefined),
      }),
    }),
    systemHome: (service) => `/var/db/openbox-${service}`,
    removeState: (_, home) => `rm -r ${quoteWord(home)}`,
    logCommand: (placed) => `tail -n 50 ${logFile(placed)}`,
  };
}

function requireScope({ service, scope }: Placed): void {
  if (scope === "user" || service === "agent") return;
  throw new OpenboxError("not_supported", `On macOS the ${service} is a user's service`, {
    hint: `openbox service install ${service}, as the user that it shall be, without sudo`,
  });
}

function readPrint(output: string | undefined) {
  const value = (name: string) =>
    new RegExp(`^\\s*${name} = (.*)$`, "m").exec(output ?? "")?.[1]?.trim() ?? "";
  const pid = Number(value("pid")), exit = value("last exit code");
  return {
    enabled: output !== undefined,
    state: output === undefined ? "stopped" : value("state") === "running" ? "running" : "stopped",
    pid: pid > 0 ? pid : undefined,
    restarts: undefined,
    delegated: undefined,
    failure: /^-?[1-9]/.test(exit) ? `exit code ${exit}` : undefined,
  };
}

/** launchd sends SIGTERM, and after ExitTimeOut SIGKILL; it restarts what failed, ten seconds after its start at the earliest. */
function plist(
  { program, service, flags, home, scope }: ServiceSpec,
  { label, log }: { readonly label: string; readonly log: string },
): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by \`openbox service install ${service}\`, which writes it anew. -->
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${escapeXml(label)}</string>
  <key>ProgramArguments</key>
  <array>
${
    [program, service, ...flags].map((word) => `    <string>${escapeXml(word)}</string>`)
      .join("\n")
  }
  </array>
  <key>EnvironmentVariables</key>
  <dict>
    <key>OPENBOX_HOME</key>
    <string>${escapeXml(home)}</string>${
    scope === "system"
      ? `
    <key>OPENBOX_CACHE</key>
    <string>${escapeXml(home)}/cache</string>`
      : ""
  }
  </dict>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ProcessType</key>
  <string>Interactive</string>
  <key>ExitTimeOut</key>
  <integer>30</integer>
  <key>Umask</key>
  <integer>63</integer>${
    service === "agent"
      ? `
  <key>AbandonProcessGroup</key>
  <true/>`
      : ""
  }
  <key>StandardOutPath</key>
  <string>${escapeXml(log)}</string>
  <key>StandardErrorPath</key>
  <string>${escapeXml(log)}</string>
</dict>
</plist>
`;
}

/** XML has no form for control characters, so nothing that a file or a flag could mean is lost without them. */
// deno-lint-ignore no-control-regex -- those
const CONTROL = /[\x00-\x1f\x7f]/g;
const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

const escapeXml = (text: string): string =>
  text.replace(CONTROL, "").replace(/[&<>]/g, (character) => ENTITIES[character]!);
