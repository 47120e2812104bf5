/** A revocation list as the control plane signs it and nodes believe it. */
import * as v from "valibot";
import { RevocationList } from "../api/revocations.ts";
import { type SignedStatement, type StatementPolicy, verifyStatement } from "../ca/operations.ts";
import { OpenboxError } from "../errors.ts";

export const REVOCATIONS_DOMAIN = "openbox-revocations-v1";

declare const verified: unique symbol;

/** Signed for this account by an operations key of our CA. Times are epoch milliseconds. */
export interface VerifiedRevocations {
  readonly [verified]: "revocations";
  readonly version: number;
  readonly issuedAt: number;
  readonly entries: readonly RevokedEntry[];
  /** The certificate of the key that signed it, and that key. */
  readonly signer: { readonly serial: bigint; readonly fingerprint: string };
}

export interface RevokedEntry {
  readonly kind: "token" | "user" | "cert" | "key" | "account";
  readonly id: string;
  /** Of users and accounts: what was issued later is good. */
  readonly issuedBefore: number | undefined;
}

export interface RevocationListPolicy
  extends Omit<StatementPolicy<typeof REVOCATIONS_DOMAIN>, "domain"> {
  readonly accountId: string;
}

/** Throws `cert_refused`, or with the code of the certificate's fault. How old it is, the caller looks at. */
export function verifyRevocationList(
  statement: SignedStatement,
  { accountId, ...policy }: RevocationListPolicy,
): VerifiedRevocations {
  const { payload, serial, keyFingerprint } = verifyStatement(statement, {
    ...policy,
    domain: REVOCATIONS_DOMAIN,
  });
  const list = readPayload(payload);
  if (!list) throw refused("this openbox does not know its form", "update openbox here");
  if (list.account_id !== accountId) throw refused("it is another account's");
  return {
    version: list.version,
    issuedAt: list.issued_at * 1000,
    entries: list.entries.map(({ kind, id, before }) => ({
      kind,
      id,
      issuedBefore: before === undefined ? undefined : before * 1000,
    })),
    signer: { serial, fingerprint: keyFingerprint },
  } as Omit<VerifiedRevocations, typeof verified> as VerifiedRevocations;
}

/** A node whose list is older does not know what was revoked since, and refuses new connections. */
const STALE_MS = 24 * 3600 * 1000;
/** Signed in the future is as bad: the clock that signed it, or this one, cannot be gone by. */
export const isStale = (issuedAt: number, now: number): boolean =>
  Math.abs(now - issuedAt) > STALE_MS;

/**
 * When it says that it was signed, epoch milliseconds; undefined where it says nothing that can be read.
 * Not proved: `verifyRevocationList` at that time does.
 */
export function claimedIssue({ payload }: SignedStatement): number | undefined {
  const list = readPayload(payload);
  return list && list.issued_at * 1000;
}

function readPayload(payload: string): RevocationList | undefined {
  try {
    return v.parse(RevocationList, JSON.parse(payload));
  } catch {
    return undefined;
  }
}

const refused = (why: string, hint?: string) =>
  new OpenboxError("cert_refused", `A revocation list cannot be believed: ${why}`, { hint });
