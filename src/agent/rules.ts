/**
 * `agent/agent.toml`: what the owner of this node allows. It is read once, at the agent's start, and
 * nothing that comes over the network widens it (docs/agent-settings.md).
 */
import { parse, TomlError } from "smol-toml";
import * as v from "valibot";
import { isLogin } from "../names.ts";
import { OpenboxError } from "../errors.ts";
import { readTrustedFile } from "../home/private_file.ts";
import type { Mount } from "../isolation/backend.ts";
import { type Net, NETS, parseMount, parseSize } from "../isolation/confinement.ts";
import type { IsolationSpec } from "../isolation/spec.ts";
import { COMMAND_POLICIES, type CommandPolicy } from "./told_command.ts";

type Kind = IsolationSpec["kind"];

export interface AgentRules {
  /** The file that says so, for whoever is refused. */
  readonly path: string;
  readonly isolations: readonly Kind[];
  /** Whom commands run as where no login is named; undefined: the agent's own. */
  readonly runAs: string | undefined;
  /** Those that may be named, besides the one that is taken without. */
  readonly logins: readonly string[];
  /** PATH of commands; undefined: the login's own. */
  readonly commandPath: string | undefined;
  /** What may be mounted, with all that is below it. */
  readonly mounts: readonly Pick<Mount, "source" | "readOnly">[];
  /** Each isolation's in the order of preference. */
  readonly nets: Readonly<Record<Kind, readonly Net[]>>;
  /** The most that a run may ask for, and what it has by itself. */
  readonly caps: Caps;
  readonly gpus: boolean;
  /** Where trees for nspawn may lie. */
  readonly trees: readonly string[];
  /** Every container gets the hardened profile. */
  readonly untrusted: boolean;
  /** Without news of revocations for a day: `hard` takes no new connection, `soft` goes on. */
  readonly revocation: "hard" | "soft";
  /** What becomes of that which goes on for whoever is revoked. */
  readonly onRevoke: "kill" | "keep";
  /** What of a command the audit is told. */
  readonly toldCommand: CommandPolicy;
}

export interface Caps {
  readonly memoryBytes?: number;
  readonly cpus?: number;
  readonly pids?: number;
}

const KINDS = ["native", "docker", "nspawn"] as const satisfies readonly Kind[];

const DEFAULTS: Omit<AgentRules, "path"> = {
  isolations: KINDS,
  runAs: undefined,
  logins: [],
  commandPath: undefined,
  mounts: [],
  // a container on the machine's own network is hardly one: its owner says so
  nets: { ...NETS, docker: NETS.docker.filter((net) => net !== "host") },
  caps: {},
  gpus: true,
  trees: ["/var/lib/machines"],
  untrusted: false,
  revocation: "hard",
  onRevoke: "kill",
  toldCommand: "program",
};

const MAX_BYTES = 256 * 1024;

/** The defaults where there is no file. Throws `unsafe_file`, `bad_file` or `bad_setting`. */
export async function readAgentRules(path: string): Promise<AgentRules> {
  const text = await readTrustedFile(path, { maxBytes: MAX_BYTES });
  return text === undefined ? { path, ...DEFAULTS } : parseAgentRules(text, path);
}

export function parseAgentRules(text: string, path: string): AgentRules {
  const parsed = v.safeParse(RulesFile, parseToml(text, path), { abortEarly: true });
  if (!parsed.success) throw refusal(parsed.issues[0], text, path);
  const { isolations, run_as, logins, mounts, nets, caps, gpus, docker, nspawn, audit, ...rest } =
    parsed.output;
  return {
    path,
    isolations: isolations ?? DEFAULTS.isolations,
    runAs: run_as,
    logins: logins ?? DEFAULTS.logins,
    commandPath: rest.path,
    mounts: mounts ?? DEFAULTS.mounts,
    nets: nets ? chooseNets(nets) : DEFAULTS.nets,
    caps: {
      ...(caps?.memory !== undefined && { memoryBytes: caps.memory }),
      ...(caps?.cpus !== undefined && { cpus: caps.cpus }),
      ...(caps?.pids !== undefined && { pids: caps.pids }),
    },
    gpus: gpus ?? DEFAULTS.gpus,
    trees: nspawn?.trees ?? DEFAULTS.trees,
    untrusted: docker?.untrusted ?? DEFAULTS.untrusted,
    revocation: rest.revocation ?? DEFAULTS.revocation,
    onRevoke: rest.on_revoke ?? DEFAULTS.onRevoke,
    toldCommand: audit?.command ?? DEFAULTS.toldCommand,
  };
}

/** Of those listed, each isolation has what it knows, in its own order. */
const chooseNets = (listed: readonly Net[]): AgentRules["nets"] => {
  const of = (kind: Kind) => NETS[kind].filter((net) => listed.includes(net));
  return { native: NETS.native, docker: of("docker"), nspawn: of("nspawn") };
};

function parseToml(text: string, path: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const why = cause.message.split("\n")[0]!.replace("Invalid TOML document: ", "");
    throw new OpenboxError("bad_setting", `${path}:${cause.line}: ${why}`, { hint: MORE, cause });
  }
}

const MORE = "docs/agent-settings.md has an example with every key";

const oneOf = <const NAMES extends readonly string[]>(names: NAMES) =>
  v.picklist(names, (issue) => `${issue.received} is none of ${names.join(", ")}`);
const texts = v.array(v.string("a list of texts in quotes"), "a list in brackets");
const absolutePath = v.pipe(
  v.string("a text in quotes"),
  v.check((path) => isAbsolute(path), (issue) => `${issue.received} is no absolute path`),
);
const login = v.pipe(
  v.string("a text in quotes"),
  v.check(isLogin, (issue) => `${issue.received} is no name of a login`),
);
const whole = v.pipe(
  v.number("a whole number"),
  v.safeInteger("a whole number"),
  v.minValue(1, "1 or more"),
);
const switchValue = v.boolean("true or false");

/** Strict: what is misspelt would be a rule that is not held. */
const RulesFile = v.strictObject({
  isolations: v.optional(v.array(oneOf(KINDS), "a list in brackets")),
  run_as: v.optional(login),
  logins: v.optional(v.array(login, "a list in brackets")),
  path: v.optional(v.pipe(
    v.string("a text in quotes"),
    v.check(isSearchPath, "directories with colons between, each absolute"),
  )),
  mounts: v.optional(v.pipe(
    texts,
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const mounts: Pick<Mount, "source" | "readOnly">[] = [];
      for (const text of dataset.value) {
        const mount = readAllowedMount(text);
        if (!mount) {
          addIssue({ message: `${JSON.stringify(text)} is no /PATH and no /PATH:ro` });
          return NEVER;
        }
        mounts.push(mount);
      }
      return mounts;
    }),
  )),
  nets: v.optional(v.array(oneOf(NETS.docker), "a list in brackets")),
  caps: v.optional(v.strictObject({
    memory: v.optional(v.pipe(
      v.string('a size in quotes, such as "4g"'),
      v.transform(parseSize),
      v.number('a size in quotes, such as "4g"'),
    )),
    cpus: v.optional(
      v.pipe(v.number("a number"), v.finite("a number"), v.minValue(0.01, "0.01 or more")),
    ),
    pids: v.optional(whole),
  }, "a table: [caps]")),
  gpus: v.optional(switchValue),
  revocation: v.optional(oneOf(["hard", "soft"])),
  on_revoke: v.optional(oneOf(["kill", "keep"])),
  docker: v.optional(v.strictObject({ untrusted: v.optional(switchValue) }, "a table: [docker]")),
  audit: v.optional(
    v.strictObject({ command: v.optional(oneOf(COMMAND_POLICIES)) }, "a table: [audit]"),
  ),
  nspawn: v.optional(
    v.strictObject(
      { trees: v.optional(v.array(absolutePath, "a list in brackets")) },
      "a table: [nspawn]",
    ),
  ),
});

function isAbsolute(path: string): boolean {
  return path.startsWith("/") && !path.split("/").some((part) => part === "." || part === "..");
}

function isSearchPath(path: string): boolean {
  return path.split(":").every((folder) => folder.startsWith("/")) && !/[\0\n]/.test(path);
}

/** `/PATH`, or `/PATH:ro` for one that may only be read. */
function readAllowedMount(text: string): Pick<Mount, "source" | "readOnly"> | undefined {
  try {
    const readOnly = text.endsWith(":ro");
    const path = readOnly ? text.slice(0, -":ro".length) : text;
    return path.includes(":") ? undefined : { source: parseMount(path).source, readOnly };
  } catch {
    return undefined;
  }
}

function refusal(issue: v.BaseIssue<unknown>, text: string, path: string): OpenboxError {
  const key = v.getDotPath(issue)?.replace(/\.\d+$/, "") ?? "";
  const line = lineOf(key, text);
  const at = line === undefined ? path : `${path}:${line}`;
  if (issue.type === "strict_object" && issue.expected === "never") {
    return new OpenboxError("bad_setting", `${at}: there is no key ${key}`, { hint: MORE });
  }
  return new OpenboxError("bad_setting", `${at}: ${key}: ${expected(issue)}`, { hint: MORE });
}

const expected = ({ kind, message }: v.BaseIssue<unknown>): string =>
  kind === "schema" && !message.includes("none of") ? `it must be ${message}` : message;

/** Where the key stands, as far as a look at the text can tell: the parser keeps no lines. */
function lineOf(key: string, text: string): number | undefined {
  const parts = key.split("."), name = parts.at(-1)!;
  const table = parts.length > 1 ? parts[0] : undefined;
  const isKey = (line: string) => line.replace(/["'\s]/g, "").startsWith(`${name}=`);
  let current: string | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const header = /^\s*\[+\s*["']?([^\]"']+?)["']?\s*\]/.exec(line)?.[1];
    if (header !== undefined) {
      current = header;
      if (header === key) return index + 1;
    } else if (current === table && isKey(line)) return index + 1;
  }
  return undefined;
}
