/**
 * The signed lists that nodes get with their heartbeats. One signature serves all nodes of an account
 * for a minute; a revocation makes a new one at once.
 */
import type { RevocationList } from "../api/revocations.ts";
import { type SignedStatement, signStatement } from "../ca/operations.ts";
import { REVOCATIONS_DOMAIN } from "../client/revocation_list.ts";
import type { Clock } from "../clock.ts";
import { toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import type { HeldList, Store } from "../store/store.ts";
import type { Operations } from "./operations.ts";

/** A node whose list was signed longer ago gets a fresh signature. */
export const FRESH_MS = 10 * 60_000;
/** How long one signature is handed out. */
const SHARED_MS = 60_000;
const COMPLAINT_MS = 60_000;

export interface RevocationLists {
  /** The account's list, which has at least this version. Undefined where nothing can be signed now: the log says why. */
  signed(accountId: string, version: number): Promise<SignedStatement | undefined>;
}

export interface RevocationListsDeps {
  readonly store: Pick<Store, "revocations">;
  readonly operations: Operations;
  readonly clock: Clock;
}

interface Shared {
  readonly version: number;
  readonly signedAt: number;
  readonly statement: Promise<SignedStatement>;
}

export function createRevocationLists(
  { store, operations, clock }: RevocationListsDeps,
): RevocationLists {
  const shared = new Map<string, Shared>();
  let complainedAt = -Infinity;

  async function sign(accountId: string, signedAt: number): Promise<SignedStatement> {
    const { version, revocations } = await store.revocations(accountId);
    const list: RevocationList = {
      account_id: accountId,
      version,
      issued_at: Math.floor(signedAt / 1000),
      entries: revocations.filter(({ listed }) => listed).map(({ kind, id, issuedBefore }) => ({
        kind,
        id,
        ...(issuedBefore !== undefined && { before: Math.ceil(issuedBefore / 1000) }),
      })),
    };
    return signStatement(await operations.signer(), REVOCATIONS_DOMAIN, JSON.stringify(list));
  }

  function share(accountId: string, version: number): Promise<SignedStatement> {
    const signedAt = clock.now(), before = shared.get(accountId);
    if (before?.version === version && isNear(before.signedAt, signedAt, SHARED_MS)) {
      return before.statement;
    }
    for (const [id, old] of shared) {
      if (!isNear(old.signedAt, signedAt, SHARED_MS)) shared.delete(id);
    }
    const made: Shared = { version, signedAt, statement: sign(accountId, signedAt) };
    shared.set(accountId, made);
    made.statement.catch(() => shared.get(accountId) === made && shared.delete(accountId));
    return made.statement;
  }

  return {
    async signed(accountId, version) {
      try {
        return await share(accountId, version);
      } catch (error) {
        if (clock.now() - complainedAt >= COMPLAINT_MS) {
          complainedAt = clock.now();
          log("control").warn("no revocation list can be signed: {error}", {
            error: toOpenboxError(error),
          });
        }
        return undefined;
      }
    },
  };
}

/** Whether a node that holds this needs another, the account's version being `version`. */
export const isListDue = (held: HeldList | undefined, version: number, now: number): boolean =>
  held === undefined || held.version !== version || !isNear(held.signedAt, now, FRESH_MS);

/** Also of a clock that was set back. */
const isNear = (at: number, now: number, ms: number): boolean => Math.abs(now - at) < ms;
