/** The keys of one certificate authority, as one PEM text: hosts are vouched for by one, users by the other. */
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

const HOST_COMMENT = "openbox-host-ca", USER_COMMENT = "openbox-user-ca", NEXT = "-next";
/** The one that a rotation brings, and the one that takes its place where that rotation is cut short. */
const MAX_NEXT = 2;

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

/** What a control plane holds: of each kind the key of now, and in a rotation the next one behind it. */
export interface CaKeyRing {
  readonly host: readonly PrivateKey[];
  readonly user: readonly PrivateKey[];
}

export const ringOf = ({ host, user }: CaKeys): CaKeyRing => ({ host: [host], user: [user] });

export const formatCaKeys = (keys: CaKeys): Secret => formatCaRing(ringOf(keys));

export const formatCaRing = (ring: CaKeyRing): Secret =>
  new Secret(
    [...ring.host.map((key, i) => privatePem(key, i === 0 ? HOST_COMMENT : HOST_COMMENT + NEXT))]
      .concat(
        ring.user.map((key, i) => privatePem(key, i === 0 ? USER_COMMENT : USER_COMMENT + NEXT)),
      )
      .join(""),
  );

/** Reads the PEM text of `formatCaRing`. `source` names it in errors: a path, or `OPENBOX_CA_KEY`. */
export function parseCaRing(pem: Secret, source: string): CaKeyRing {
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
  const nextHosts = find(HOST_COMMENT + NEXT), nextUsers = find(USER_COMMENT + NEXT);
  const known = 2 + nextHosts.length + nextUsers.length;
  const tooMany = nextHosts.length > MAX_NEXT || nextUsers.length > MAX_NEXT;
  if (!host || !user || moreHosts.length || moreUsers.length || named.length !== known || tooMany) {
    return refuse(
      `it must hold two keys, with the comments ${HOST_COMMENT} and ${USER_COMMENT}; it holds ${named.length}`,
    );
  }
  return { host: [host, ...nextHosts], user: [user, ...nextUsers] };
}

/** What is compared at login and carried by enrollment tokens: one hash over both public keys. */
export const caFingerprint = (keys: CaPublicKeys): string =>
  fingerprint(keys.host.blob, keys.user.blob);
