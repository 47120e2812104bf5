import { type Config, readConfig, writeConfig } from "../home/config.ts";
import { homePaths } from "../home/paths.ts";
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import { generateKey, parsePrivatePem, type PrivateKey, privatePem } from "../ssh/key.ts";
import type { Login } from "./login.ts";

/** The key that this machine's certificates are issued for: kept with the login, made by its first run, else only in memory. */
export async function userKey({ stored }: Login, host: Host): Promise<PrivateKey> {
  if (!stored) return generateKey();
  if (stored.key_pem !== "") return storedKey(stored);
  const key = generateKey();
  await keep(key, stored, host);
  return key;
}

function storedKey({ key_pem }: Config): PrivateKey {
  try {
    return parsePrivatePem(key_pem)[0]!.key;
  } catch (cause) {
    throw new OpenboxError("bad_file", "The key in config.json cannot be read", {
      hint: "openbox logout, then openbox login: that makes a new one",
      cause,
    });
  }
}

/** A home that cannot be written to (read-only, full) is no reason not to run. */
async function keep(key: PrivateKey, stored: Config, host: Host): Promise<void> {
  const path = homePaths(host).config;
  try {
    const now = await readConfig(path);
    // a logout, or a login as somebody else, may have come in between
    if (now?.token !== stored.token || now.key_pem !== "") return;
    await writeConfig(path, { ...now, key_pem: privatePem(key, "openbox") });
  } catch (error) {
    if (!(error instanceof OpenboxError)) throw error;
  }
}
