/** The two keys of one certificate authority, as one PEM text: hosts are vouched for by one, users by the other. */
import { OpenboxError } from "../errors.ts";
import { Secret } from "../secret.ts";
import {
  fingerprint,
  generateKey,
  parsePrivatePem,
  type PrivateKey,
  privatePem,
  type PublicKey,
} from "../ssh/key.ts";

const HOST_COMMENT = "openbox-host-ca", USER_COMMENT = "openbox-user-ca";

export interface CaKeys {
  readonly host: PrivateKey;
  readonly user: PrivateKey;
}

/** The public halves, as clients and agents pin them. */
export interface CaPublicKeys {
  readonly host: PublicKey;
  readonly user: PublicKey;
}

export const generateCaKeys = (): CaKeys => ({ host: generateKey(), user: generateKey() });

export const formatCaKeys = (keys: CaKeys): Secret =>
  new Secret(privatePem(keys.host, HOST_COMMENT) + privatePem(keys.user, USER_COMMENT));

/** Reads the PEM text of `formatCaKeys`. `source` names it in errors: a path, or `OPENBOX_CA_KEY`. */
export function parseCaKeys(pem: Secret, source: string): CaKeys {
  const refuse = (why: string, cause?: unknown): never => {
    throw new OpenboxError("bad_file", `Cannot use the CA key in ${source}: ${why}`, {
      hint: "openbox ca-keygen > FILE makes a pair of keys; one text holds both",
      cause,
    });
  };
  let named;
  try {
    named = parsePrivatePem(pem.reveal());
  } catch (cause) {
    return refuse((cause as Error).message, cause);
  }
  const find = (comment: string) =>
    named.filter((entry) => entry.comment === comment).map((entry) => entry.key);
  const [host, ...moreHosts] = find(HOST_COMMENT), [user, ...moreUsers] = find(USER_COMMENT);
  if (named.length !== 2 || !host || !user || moreHosts.length || moreUsers.length) {
    return refuse(
      `it must hold two keys, with the comments ${HOST_COMMENT} and ${USER_COMMENT}; it holds ${named.length}`,
    );
  }
  return { host, user };
}

/** What is compared at login and carried by enrollment tokens: one hash over both public keys. */
export const caFingerprint = (keys: CaPublicKeys): string =>
  fingerprint(keys.host.blob, keys.user.blob);
