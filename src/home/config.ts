/** `config.json`: the CLI's login, its token and key in clear. `cli` wraps them before anything else sees them. */
import * as v from "valibot";
import { readKeptJson } from "./kept_json.ts";
import { writePrivateFile } from "./private_file.ts";

const VERSION = 1;

const line = v.pipe(v.string(), v.nonEmpty());
const trustedKeys = v.object({
  keys: v.pipe(v.array(line), v.minLength(1)),
  seq: v.pipe(v.number(), v.safeInteger()),
});
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
  /** Where a rotation led from there: all keys that are trusted, and the number of the newest statement. */
  ca_trust: v.optional(v.object({ host: trustedKeys, user: trustedKeys })),
  /** Epoch seconds; absent where the control plane did not say. */
  token_expires_at: v.optional(v.number()),
  insecure_http: v.optional(v.boolean(), false),
  /** PEM text of the certificates that `--tls-ca` named. */
  tls_ca: v.optional(line),
});
export type Config = v.InferOutput<typeof ConfigFile>;

/** Undefined where nobody is logged in. Throws `unsafe_file` or `bad_file` with the way out. */
export const readConfig = (path: string): Promise<Config | undefined> =>
  readKeptJson(path, {
    schema: ConfigFile,
    version: VERSION,
    what: "a login",
    goKey: "server",
    remedy: "openbox login",
  });

/** Replaces the file; whoever calls has read what was there, so that nothing foreign is overwritten. */
export const writeConfig = (path: string, config: Omit<Config, "version">): Promise<void> =>
  writePrivateFile(path, JSON.stringify({ version: VERSION, ...config }, null, 2) + "\n");
