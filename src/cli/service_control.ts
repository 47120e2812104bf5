/** What the control plane would refuse at its start as a service is refused before anything is installed. */
import { OpenboxError } from "../errors.ts";
import { readTrustedFile } from "../home/private_file.ts";
import type { Host } from "../host.ts";
import { CONTROL_ENV_FILE } from "../service/service.ts";
import { hasPassword } from "../store/postgres_dsn.ts";
import type { ControlFlags } from "./commands/control.ts";
import { CARRIED } from "./service_flags.ts";

/** They are not in the unit, which everybody may read, so a start without them would be another control plane. */
const SECRETS = [
  "OPENBOX_CA_KEY",
  "OPENBOX_CA_PASSPHRASE",
  "OPENBOX_DB",
  "OPENBOX_OPERATIONS_KEY",
  "OPENBOX_BOOTSTRAP_TOKEN",
];
const MAX_BYTES = 64 * 1024;

/** Throws as the control plane does, and `bad_setting` for secrets that would be lost. */
export async function prepareControl(
  flags: ControlFlags,
  home: string,
  host: Host,
): Promise<{ readonly lowPort: boolean }> {
  const kept = parseEnvFile(
    await readTrustedFile(CONTROL_ENV_FILE, { maxBytes: MAX_BYTES }) ?? "",
  );
  for (const name of SECRETS) {
    const value = host.env(name), isSecret = name !== "OPENBOX_DB" || hasPassword(value ?? "");
    if (value === undefined || !isSecret || kept.has(name)) continue;
    throw new OpenboxError("bad_setting", `${name} is set, and a unit is no place for a secret`, {
      hint: `write it into ${CONTROL_ENV_FILE} (mode 0600) as ${name}=…, and unset it`,
    });
  }
  // a flag for each is in the unit
  const carried = new Set(CARRIED.control.map(([, variable]) => variable));
  const env = (name: string) =>
    name === "OPENBOX_HOME"
      ? home
      : carried.has(name)
      ? host.env(name) ?? kept.get(name)
      : kept.get(name);
  const { readControlSettings } = await import("../control/settings.ts");
  const { listen } = readControlSettings(flags, { ...host, env, takeEnv: env });
  return { lowPort: listen.port > 0 && listen.port < 1024 };
}

/** As systemd.exec(5) reads an EnvironmentFile=, for lines without escapes. */
function parseEnvFile(text: string): Map<string, string> {
  return new Map(
    text.split("\n").flatMap((line) => {
      const [, name, value] = /^\s*([A-Za-z_]\w*)=(.*?)\s*$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, value!.replace(/^(["'])(.*)\1$/, "$2")]];
    }),
  );
}
