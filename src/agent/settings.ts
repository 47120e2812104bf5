/** What an agent is started with: flags over environment over agent.toml over default, read once and here. */
import * as v from "valibot";
import { nameText, tagList } from "../api/fields.ts";
import { type EnrollToken, parseEnrollToken } from "../ca/enroll_proof.ts";
import { parseServerUrl, type ServerUrl } from "../client/server_url.ts";
import { OpenboxError } from "../errors.ts";
import { homePaths } from "../home/paths.ts";
import { readPrivateFile } from "../home/private_file.ts";
import { readStdinText, readTextFile } from "../home/text_file.ts";
import { type Host, isOn } from "../host.ts";
import { type Address, isUnspecified, parseAddress } from "../transport/address.ts";
import { type AgentRules, readAgentRules } from "./rules.ts";

/** The flags of `openbox agent`. */
export interface AgentFlags {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly addr?: string;
  readonly advertise?: string;
  readonly name?: string;
  readonly tag?: readonly string[];
  readonly insecureHttp?: boolean;
  readonly tlsCa?: string;
}

/** Undefined is what nobody said: an enrolled agent then does as it did. */
export interface AgentSettings {
  /** The agent's own files. */
  readonly agentDir: string;
  readonly statePath: string;
  /** Where the sessions' files are. */
  readonly sessionsDir: string;
  readonly revocationsPath: string;
  /** Which runs the control plane has not heard of yet. */
  readonly runsPath: string;
  /** What the node's owner allows. */
  readonly rules: AgentRules;
  readonly server: ServerUrl | undefined;
  readonly enrollToken: EnrollToken | undefined;
  /** Where it may have been left for one start. */
  readonly enrollTokenPath: string;
  /** What to listen on. */
  readonly addr: Address | undefined;
  /** What to tell others. */
  readonly advertise: Address | undefined;
  readonly name: string | undefined;
  readonly tags: readonly string[] | undefined;
  readonly insecureHttp: boolean;
  /** PEM text. */
  readonly tlsCa: string | undefined;
  /** What the person should know of how it was started. */
  readonly warnings: readonly string[];
}

export const AGENT_PORT = 7600;

/** Throws `bad_setting`, or `bad_file` and `unsafe_file` for a file. */
export async function readAgentSettings(flags: AgentFlags, host: Host): Promise<AgentSettings> {
  const text = (flag: string | undefined, variable: string) => flag || host.env(variable);
  const address = (flag: string | undefined, name: string, variable: string) => {
    const given = text(flag, variable);
    return given === undefined
      ? undefined
      : parseAddress(given, flag ? name : variable, { defaultPort: AGENT_PORT });
  };
  const server = text(flags.server, "OPENBOX_SERVER");
  const advertise = address(flags.advertise, "--advertise", "OPENBOX_ADVERTISE");
  if (advertise && (isUnspecified(advertise.host) || advertise.port === 0)) {
    throw new OpenboxError("bad_setting", "--advertise needs an address that others can dial", {
      hint: "--advertise HOST:PORT",
    });
  }
  const tlsCa = text(flags.tlsCa, "OPENBOX_TLS_CA");
  return {
    agentDir: homePaths(host).agentDir,
    statePath: homePaths(host).agentState,
    sessionsDir: homePaths(host).agentSessions,
    revocationsPath: homePaths(host).agentRevocations,
    runsPath: homePaths(host).agentRuns,
    rules: await readAgentRules(homePaths(host).agentRules),
    server: server
      ? parseServerUrl(server, flags.server ? "--server" : "OPENBOX_SERVER")
      : undefined,
    enrollToken: await readToken(flags, host),
    enrollTokenPath: homePaths(host).agentEnrollToken,
    addr: address(flags.addr, "--addr", "OPENBOX_AGENT_ADDR"),
    advertise,
    name: readName(text(flags.name, "OPENBOX_NAME")),
    tags: readTags(flags.tag, host),
    insecureHttp: flags.insecureHttp ?? isOn(host.env("OPENBOX_INSECURE_HTTP")),
    tlsCa: tlsCa === undefined
      ? undefined
      : await readTextFile(tlsCa, "the certificate of --tls-ca"),
    warnings: flags.token
      ? [
        "--token shows in `ps` to every user of this machine: better OPENBOX_ENROLL_TOKEN or --token-file",
      ]
      : [],
  };
}

function readName(name: string | undefined): string | undefined {
  const parsed = v.safeParse(v.optional(nameText("name")), name);
  if (parsed.success) return parsed.output;
  throw new OpenboxError("bad_setting", `--name: ${parsed.issues[0].message}`);
}

function readTags(flag: readonly string[] | undefined, host: Host): readonly string[] | undefined {
  const given = flag?.length ? flag : host.env("OPENBOX_TAGS")?.split(",");
  if (given === undefined) return undefined;
  const parsed = v.safeParse(tagList, given);
  if (parsed.success) return parsed.output;
  throw new OpenboxError("bad_setting", `--tag: ${parsed.issues[0].message}`);
}

async function readToken(flags: AgentFlags, host: Host): Promise<EnrollToken | undefined> {
  const [source, text] = flags.tokenFile === "-"
    ? ["--token-file -", await readStdinText(host, "the enrollment token")]
    : flags.tokenFile
    ? ["--token-file", await readTextFile(flags.tokenFile, "the enrollment token")]
    : flags.token
    ? ["--token", flags.token]
    : host.env("OPENBOX_ENROLL_TOKEN")
    ? ["OPENBOX_ENROLL_TOKEN", host.env("OPENBOX_ENROLL_TOKEN")]
    : await readLeftToken(host);
  if (text === undefined) return undefined;
  const token = parseEnrollToken(text.trim());
  if (token) return token;
  throw new OpenboxError(
    "bad_setting",
    text.trim().startsWith("obx_")
      ? `${source}: this token is a person's, not one for a new node`
      : `${source}: this is not an enrollment token of this openbox`,
    { hint: "openbox node token, where you are logged in, makes one: enroll_….…" },
  );
}

/** By `openbox service install agent`, whose units are no place for a secret. */
async function readLeftToken(host: Host): Promise<[string, string | undefined]> {
  const path = homePaths(host).agentEnrollToken;
  return [path, await readPrivateFile(path, { maxBytes: MAX_TOKEN_BYTES })];
}
const MAX_TOKEN_BYTES = 4096;
