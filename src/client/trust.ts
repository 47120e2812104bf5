/** Whether the CA that a control plane names is the one that this caller believes. */
import { caFingerprint, type CaPublicKeys } from "../ca/keys.ts";
import { equalBytes } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { parseAuthorizedLine } from "../ssh/key.ts";
import { isInsecure, type ServerUrl } from "./server_url.ts";

/** What a caller knows of its CA beforehand. */
export type CaPin =
  | { readonly kind: "keys"; readonly keys: CaPublicKeys }
  | { readonly kind: "fingerprint"; readonly fingerprint: string }
  | { readonly kind: "none" };

/** The form that ssh-keygen prints: `SHA256:` and 43 characters of base64. `source` names it in the error. */
export function parseFingerprint(text: string, source: string): string {
  if (/^SHA256:[A-Za-z0-9+/]{43}$/.test(text)) return text;
  throw new OpenboxError(
    "bad_setting",
    `${source} ${JSON.stringify(text.slice(0, 80))} is no CA fingerprint`,
    {
      hint: "`openbox control` prints it: SHA256: and 43 characters",
    },
  );
}

/** Both CA keys as every answer of a control plane carries them. */
export interface CaAnswer {
  readonly host_ca_pubkey: string;
  readonly user_ca_pubkey: string;
}

export function parseCaAnswer(answer: CaAnswer): CaPublicKeys {
  try {
    return {
      host: parseAuthorizedLine(answer.host_ca_pubkey),
      user: parseAuthorizedLine(answer.user_ca_pubkey),
    };
  } catch (cause) {
    throw new OpenboxError("upgrade_required", "The control plane names a CA key of another kind", {
      hint: "openbox takes ed25519 keys; openbox ca-keygen makes them",
      cause,
    });
  }
}

/**
 * The keys of `answer`, once the pin allows them; else `ca_changed`. Without a pin, over a connection
 * that somebody could sit in, `insecure_http` with the line that sets one.
 */
export function checkCa(answer: CaAnswer, pin: CaPin, server: ServerUrl): CaPublicKeys {
  const keys = parseCaAnswer(answer);
  const fingerprint = caFingerprint(keys);
  if (pin.kind === "none") {
    if (!isInsecure(server)) return keys;
    throw new OpenboxError(
      "insecure_http",
      `Nothing says which CA to believe, and over plain HTTP anybody could have named ${fingerprint}`,
      {
        hint:
          `export OPENBOX_CA_FINGERPRINT=${fingerprint} if that is what the control plane printed`,
      },
    );
  }
  const same = pin.kind === "fingerprint"
    ? pin.fingerprint === fingerprint
    : equalBytes(pin.keys.host.blob, keys.host.blob) &&
      equalBytes(pin.keys.user.blob, keys.user.blob);
  if (same) return keys;
  const pinned = pin.kind === "fingerprint" ? pin.fingerprint : caFingerprint(pin.keys);
  throw new OpenboxError(
    "ca_changed",
    `The control plane at ${server.href} names the CA ${fingerprint}; pinned is ${pinned}`,
    {
      hint:
        `somebody may sit in between; if the CA was really replaced: openbox login --server ${server.href} --ca-fingerprint ${fingerprint}`,
    },
  );
}
