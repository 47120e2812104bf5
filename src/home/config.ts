/**
 * `config.json`: the CLI's login. What is not ours in every part is refused by name and left as it is:
 * the Go program's file, a newer version's, one that an editor damaged.
 */
import * as v from "valibot";
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import { readPrivateFile, writePrivateFile } from "./private_file.ts";

const VERSION = 1;
const MAX_BYTES = 1024 * 1024;

const line = v.pipe(v.string(), v.nonEmpty());
const ConfigFile = v.object({
  version: v.literal(VERSION),
  server: line,
  token: line,
  /** OpenSSH PEM; empty until the first run makes the key. */
  key_pem: v.string(),
  /** Name of the user. */
  user: line,
  user_id: line,
  /** Both CA keys, pinned at the login, in authorized_keys form. */
  host_ca_pubkey: line,
  user_ca_pubkey: line,
  /** Epoch seconds; absent where the control plane did not say. */
  token_expires_at: v.optional(v.number()),
  insecure_http: v.optional(v.boolean(), false),
  /** PEM text of the certificates that `--tls-ca` named. */
  tls_ca: v.optional(line),
});
/** The file's content, token and key in clear: `cli` wraps them before anything else sees them. */
export type Config = v.InferOutput<typeof ConfigFile>;

/** Undefined where nobody is logged in. Throws `unsafe_file` or `bad_file` with the way out. */
export async function readConfig(path: string): Promise<Config | undefined> {
  const text = await readPrivateFile(path, { maxBytes: MAX_BYTES });
  if (text === undefined) return undefined;
  const refuse = (why: string): never => {
    throw new OpenboxError("bad_file", `Cannot use ${path}: ${why}`, {
      hint: `mv ${quoteWord(path)} ${quoteWord(`${path}.old`)}, then openbox login`,
    });
  };
  if (text.startsWith("\ufeff")) return refuse("it begins with a byte order mark (an editor's)");
  if (text.includes("\r")) return refuse("its lines end with CR LF (an editor's)");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return refuse(text.trim() === "" ? "it is empty" : "it is not JSON, or only a part of it");
  }
  const { version, server } = (json ?? {}) as { version?: unknown; server?: unknown };
  if (typeof version === "number" && version > VERSION) {
    return refuse(`a newer openbox wrote it (version ${version})`);
  }
  if (version === undefined && server !== undefined) {
    return refuse("the openbox that was written in Go made it");
  }
  const parsed = v.safeParse(ConfigFile, json);
  if (!parsed.success) {
    const at = v.getDotPath(parsed.issues[0]);
    return refuse(`it is not a login${at ? ` (${at})` : ""}`);
  }
  return parsed.output;
}

/** Replaces the file; whoever calls has read what was there, so that nothing foreign is overwritten. */
export const writeConfig = (path: string, config: Omit<Config, "version">): Promise<void> =>
  writePrivateFile(path, JSON.stringify({ version: VERSION, ...config }, null, 2) + "\n");
