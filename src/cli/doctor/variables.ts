/** Variables of ours that mean nothing, or against each other. */
import { closest } from "../closest.ts";
import { type Finding, ok, warning, wrong } from "./check.ts";

/** All that openbox reads, and its launcher and installer; a test holds the list against the sources. */
export const VARIABLES = [
  "OPENBOX_ADDR",
  "OPENBOX_ADVERTISE",
  "OPENBOX_AGENT_ADDR",
  "OPENBOX_AUDIT_SYSLOG",
  "OPENBOX_BASE_URL",
  "OPENBOX_BEHIND_PROXY",
  "OPENBOX_BIN_DIR",
  "OPENBOX_BOOTSTRAP_TOKEN",
  "OPENBOX_BOOTSTRAP_TOKEN_FILE",
  "OPENBOX_CA",
  "OPENBOX_CACHE",
  "OPENBOX_CA_FINGERPRINT",
  "OPENBOX_CA_KEY",
  "OPENBOX_CA_PASSPHRASE",
  "OPENBOX_CA_PASSPHRASE_FILE",
  "OPENBOX_DAEMON_SOCKET",
  "OPENBOX_DB",
  "OPENBOX_DISPATCH_LIMIT",
  "OPENBOX_ENROLL_TOKEN",
  "OPENBOX_HOME",
  "OPENBOX_IGNORED_SIGNALS",
  "OPENBOX_INSECURE_HTTP",
  "OPENBOX_ISOLATION",
  "OPENBOX_NAME",
  "OPENBOX_NEW_TOKEN",
  "OPENBOX_NODE",
  "OPENBOX_NO_DAEMON",
  "OPENBOX_OPERATIONS_KEY",
  "OPENBOX_PRINT_BOOTSTRAP_TOKEN",
  "OPENBOX_PROGRAM",
  "OPENBOX_PUBLIC_URL",
  "OPENBOX_REPO",
  "OPENBOX_SERVER",
  "OPENBOX_SESSION",
  "OPENBOX_SOURCE_LIMIT",
  "OPENBOX_TAGS",
  "OPENBOX_TLS_CA",
  "OPENBOX_TLS_CERT",
  "OPENBOX_TLS_KEY",
  "OPENBOX_TOKEN",
  "OPENBOX_VERSION",
] as const;

/** The launcher's own word to the program. */
const LAUNCHER: readonly string[] = ["OPENBOX_IGNORED_SIGNALS", "OPENBOX_PROGRAM"];

/** Two that say the same in two ways: the start of a control plane refuses both at once. */
const CONTRADICTIONS = [
  ["OPENBOX_CA", "OPENBOX_CA_KEY"],
  ["OPENBOX_CA_PASSPHRASE_FILE", "OPENBOX_CA_PASSPHRASE"],
  ["OPENBOX_BOOTSTRAP_TOKEN_FILE", "OPENBOX_BOOTSTRAP_TOKEN"],
] as const;
/** Of no use without the other. */
const PAIRS = [["OPENBOX_TLS_CERT", "OPENBOX_TLS_KEY"]] as const;

/** `env` as a Host has it: an empty variable is none. */
export function checkVariables(
  names: readonly string[],
  env: (name: string) => string | undefined,
): Finding[] {
  const isSet = (name: string) => env(name) !== undefined;
  const ours = names.filter((name) => name.startsWith("OPENBOX_") && isSet(name)).sort();
  const known: readonly string[] = VARIABLES;
  const told = ours.filter((name) => !LAUNCHER.includes(name));
  const found = [
    ...ours.filter((name) => !known.includes(name)).map((name) => {
      const meant = closest(name, known);
      return warning(
        `${name} means nothing to openbox`,
        meant ? `perhaps ${meant}` : `unset ${name}`,
      );
    }),
    ...CONTRADICTIONS.filter((two) => two.every(isSet)).map(([one, other]) =>
      wrong(`${one} and ${other} are both set`, `unset ${one} or ${other}`)
    ),
    ...PAIRS.flatMap(([one, other]) => {
      if (isSet(one) === isSet(other)) return [];
      const [there, missing] = isSet(one) ? [one, other] : [other, one];
      return wrong(`${there} is set, and ${missing} is not`, `set ${missing} too`);
    }),
  ];
  if (found.length > 0) return found;
  return [ok(told.length === 0 ? "none are set" : told.join(", "))];
}
