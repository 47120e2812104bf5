/** Which CA this machine believes: pinned at the login, and followed from there by what the CA itself says. */
import { formatTrust, parseTrust } from "../ca/kept_trust.ts";
import { CA_KINDS, type CaTrust } from "../ca/trust.ts";
import { type CaAnswer, type CaPin, checkCa, parseFingerprint } from "../client/trust.ts";
import { OpenboxError } from "../errors.ts";
import { type Config, readConfig, writeConfig } from "../home/config.ts";
import { homePaths } from "../home/paths.ts";
import type { Host } from "../host.ts";
import type { Login } from "./login.ts";

export function caPin({ caFingerprint, stored }: Pick<Login, "caFingerprint" | "stored">): CaPin {
  if (caFingerprint !== undefined) {
    const fingerprint = parseFingerprint(caFingerprint, "OPENBOX_CA_FINGERPRINT");
    return { kind: "fingerprint", fingerprint };
  }
  return stored ? { kind: "trust", trust: storedTrust(stored) } : { kind: "none" };
}

function storedTrust(stored: Config): CaTrust {
  try {
    return parseTrust(stored);
  } catch (cause) {
    throw new OpenboxError("bad_file", "The CA keys in config.json cannot be read", {
      hint: "openbox logout, then openbox login",
      cause,
    });
  }
}

/** What is trusted, once the pin allows it; kept where a rotation led on. Throws as `checkCa`. */
export async function believeCa(answer: CaAnswer, login: Login, host: Host): Promise<CaTrust> {
  const pin = caPin(login), trust = checkCa(answer, pin, login.server);
  if (pin.kind === "trust" && login.stored && trust !== pin.trust) {
    await keep(trust, login.stored, host);
  }
  return trust;
}

/** A home that cannot be written to is no reason not to run: the next call follows the same way. */
async function keep(trust: CaTrust, stored: Config, host: Host): Promise<void> {
  const path = homePaths(host).config;
  try {
    const now = await readConfig(path);
    // a logout, another login, or another call that is further, may have come in between
    if (now?.token !== stored.token || now.server !== stored.server) return;
    const kept = storedTrust(now);
    if (CA_KINDS.some((kind) => kept[kind].seq > trust[kind].seq)) return;
    await writeConfig(path, { ...now, ...formatTrust(trust) });
  } catch (error) {
    if (!(error instanceof OpenboxError)) throw error;
  }
}
