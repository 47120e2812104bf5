/** The flags of a service as its unit has them: those that were given, and what the environment says in their place. */
import { type Host, isOn } from "../host.ts";
import { hasPassword } from "../store/postgres_dsn.ts";

/** `file`: a path, which a unit needs whole. */
type Kind = "text" | "file" | "switch" | "list";
type Table = readonly (readonly [flag: string, variable: string, kind: Kind])[];

const AGENT: Table = [
  ["server", "OPENBOX_SERVER", "text"],
  ["addr", "OPENBOX_AGENT_ADDR", "text"],
  ["advertise", "OPENBOX_ADVERTISE", "text"],
  ["name", "OPENBOX_NAME", "text"],
  ["tag", "OPENBOX_TAGS", "list"],
  ["insecureHttp", "OPENBOX_INSECURE_HTTP", "switch"],
  ["tlsCa", "OPENBOX_TLS_CA", "file"],
];

const CONTROL: Table = [
  ["addr", "OPENBOX_ADDR", "text"],
  ["url", "OPENBOX_PUBLIC_URL", "text"],
  ["db", "OPENBOX_DB", "file"],
  ["ca", "OPENBOX_CA", "file"],
  ["caPassphraseFile", "OPENBOX_CA_PASSPHRASE_FILE", "file"],
  ["tlsCert", "OPENBOX_TLS_CERT", "file"],
  ["tlsKey", "OPENBOX_TLS_KEY", "file"],
  ["insecureHttp", "OPENBOX_INSECURE_HTTP", "switch"],
  ["behindProxy", "OPENBOX_BEHIND_PROXY", "text"],
  ["bootstrapTokenFile", "OPENBOX_BOOTSTRAP_TOKEN_FILE", "file"],
  ["printBootstrapToken", "OPENBOX_PRINT_BOOTSTRAP_TOKEN", "switch"],
  ["auditSyslog", "OPENBOX_AUDIT_SYSLOG", "text"],
  ["dispatchLimit", "OPENBOX_DISPATCH_LIMIT", "text"],
  ["sourceLimit", "OPENBOX_SOURCE_LIMIT", "text"],
];

export const CARRIED = { agent: AGENT, control: CONTROL } as const;

/** Words for the command line of the service. A value stays one word with its flag, whatever it begins with. */
export function serviceFlags(
  service: keyof typeof CARRIED,
  flags: object,
  host: Pick<Host, "env" | "cwd">,
): string[] {
  return CARRIED[service].flatMap(([flag, variable, kind]) => {
    const name = `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const given = (flags as Record<string, unknown>)[flag] ?? fromEnv(host.env(variable), kind);
    if (given === undefined || given === false) return [];
    if (given === true) return [name];
    const values = Array.isArray(given) ? given : [given];
    return values.map((value) => `${name}=${kind === "file" ? wholePath(value, host) : value}`);
  });
}

function fromEnv(text: string | undefined, kind: Kind): string | boolean | string[] | undefined {
  // what a unit holds everybody can read
  if (text === undefined || hasPassword(text)) return undefined;
  if (kind === "switch") return isOn(text);
  return kind === "list" ? text.split(",") : text;
}

/** Some flags take a word in the place of a path: `--ca database`, `--db postgres://…`. */
const wholePath = (path: string, { cwd }: Pick<Host, "cwd">): string =>
  path.startsWith("/") || path === "database" || /^[a-z][a-z0-9+]*:\/\//i.test(path)
    ? path
    : `${cwd()}/${path}`;
