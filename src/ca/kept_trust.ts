/** Trust as files keep it: config.json and agent.json have the same fields for it. */
import { authorizedLine, parseAuthorizedLine } from "../ssh/key.ts";
import { CA_KINDS, type CaKind, type CaTrust, currentPair, type TrustedKeys } from "./trust.ts";

/** The keys of now under the names of the wire, and the rest where a rotation was followed. */
export interface KeptTrust {
  readonly host_ca_pubkey: string;
  readonly user_ca_pubkey: string;
  readonly ca_trust?: Record<CaKind, KeptKeys>;
}

interface KeptKeys {
  keys: string[];
  seq: number;
}

export function formatTrust(trust: CaTrust): KeptTrust {
  const { host, user } = currentPair(trust);
  const pair = { host_ca_pubkey: authorizedLine(host), user_ca_pubkey: authorizedLine(user) };
  if (CA_KINDS.every((kind) => trust[kind].seq === 0)) return pair;
  const kept = ({ keys, seq }: TrustedKeys): KeptKeys => ({
    keys: keys.map((key) => authorizedLine(key)),
    seq,
  });
  return { ...pair, ca_trust: { host: kept(trust.host), user: kept(trust.user) } };
}

/** Throws MalformedError for a key that cannot be read. */
export function parseTrust({ host_ca_pubkey, user_ca_pubkey, ca_trust }: KeptTrust): CaTrust {
  const read = ({ keys, seq }: KeptKeys): TrustedKeys => ({
    keys: keys.map(parseAuthorizedLine),
    seq,
  });
  return {
    host: read(ca_trust?.host ?? { keys: [host_ca_pubkey], seq: 0 }),
    user: read(ca_trust?.user ?? { keys: [user_ca_pubkey], seq: 0 }),
  };
}
