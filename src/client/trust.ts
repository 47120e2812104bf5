/** Whether the CA that a control plane names is the one that this caller believes. */
import { caFingerprint, type CaPublicKeys } from "../ca/keys.ts";
import {
  CA_KINDS,
  type CaTrust,
  currentPair,
  followCa,
  includesKey,
  namedKeys,
  trustPair,
} from "../ca/trust.ts";
import { OpenboxError } from "../errors.ts";
import { parseAuthorizedLine } from "../ssh/key.ts";
import { isInsecure, type ServerUrl } from "./server_url.ts";

/** What a caller knows of its CA beforehand. */
export type CaPin =
  | { readonly kind: "trust"; readonly trust: CaTrust }
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

/** Both CA keys as every answer of a control plane carries them, and how they came to be the ones. */
export interface CaAnswer {
  readonly host_ca_pubkey: string;
  readonly user_ca_pubkey: string;
  readonly ca_rotations?: readonly string[];
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
 * What is trusted by now: the pin, and where the statements of the answer lead from it. `ca_changed` where
 * the answer names other keys. Without a pin, over a connection that somebody could sit in, `insecure_http`
 * with the line that sets one.
 */
export function checkCa(answer: CaAnswer, pin: CaPin, server: ServerUrl): CaTrust {
  const named = parseCaAnswer(answer), statements = answer.ca_rotations ?? [];
  if (pin.kind === "none") {
    const fingerprint = caFingerprint(named);
    if (!isInsecure(server)) return followCa(trustPair(named), statements);
    throw new OpenboxError(
      "insecure_http",
      `Nothing says which CA to believe, and over plain HTTP anybody could have named ${fingerprint}`,
      {
        hint:
          `export OPENBOX_CA_FINGERPRINT=${fingerprint} if that is what the control plane printed`,
      },
    );
  }
  const start = pin.kind === "trust" ? pin.trust : findPair(pin.fingerprint, named, statements);
  const trust = start && followCa(start, statements);
  if (trust && CA_KINDS.every((kind) => includesKey(trust[kind].keys, named[kind]))) return trust;
  const pinned = pin.kind === "fingerprint"
    ? pin.fingerprint
    : caFingerprint(currentPair(pin.trust));
  throw caChanged(caFingerprint(named), pinned, server);
}

/** The pair of this fingerprint: the one that is named, or one of former times among the statements. */
function findPair(
  fingerprint: string,
  named: CaPublicKeys,
  statements: readonly string[],
): CaTrust | undefined {
  for (const host of [named.host, ...namedKeys("host", statements)]) {
    for (const user of [named.user, ...namedKeys("user", statements)]) {
      if (caFingerprint({ host, user }) === fingerprint) return trustPair({ host, user });
    }
  }
  return undefined;
}

const caChanged = (fingerprint: string, pinned: string, server: ServerUrl) =>
  new OpenboxError(
    "ca_changed",
    `The control plane at ${server.href} names the CA ${fingerprint}; pinned is ${pinned}`,
    {
      hint:
        `somebody may sit in between; if the CA was really replaced: openbox login --server ${server.href} --ca-fingerprint ${fingerprint}`,
    },
  );
