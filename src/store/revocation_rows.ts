/**
 * What is not to be believed any more. A revocation holds for the control plane with its transaction: a
 * token ends in the row that it is looked up by, and no clock brings it back. What nodes have to know is
 * the account's list, whose version only rises, also beyond what a restored database remembers of it.
 */
import { sql, type Transaction } from "kysely";
import type {
  HeldRevocations,
  Revocation,
  RevocationEntry,
  RevocationRequest,
  Revoked,
} from "./store.ts";
import { revokeEnrollToken } from "./enroll_tokens.ts";
import { removeNode } from "./node_rows.ts";
import { revokeUserTokens } from "./user_tokens.ts";
import type { Tables } from "./tables.ts";

type Tx = Transaction<Tables>;

const DAY_MS = 24 * 3600 * 1000;
/** A user certificate lives ten minutes, an operations certificate 90 days; the rest is for wrong clocks. */
const KEPT_MS = 30 * DAY_MS, CERTS_KEPT_MS = 100 * DAY_MS;
/** Of one account's list: nodes and heartbeat answers have limits. */
const MOST_LISTED = 10_000;
/** Another control plane on this database may issue by a clock that is this much ahead. */
const CLOCKS_MS = 60_000;

/** Undefined where the account has no such token, user or node. */
export async function revoke(tx: Tx, request: RevocationRequest): Promise<Revoked | undefined> {
  const { accountId, kind, id, now } = request;
  switch (kind) {
    case "cert":
    case "key":
      return await revokeAll(tx, request, kind, [id]);
    case "token": {
      const ended = await revokeUserTokens(tx, accountId, [id], { now, keepMade: false });
      if (ended.length > 0 || await isUserToken(tx, accountId, id)) {
        return await revokeAll(tx, request, kind, [id, ...ended.filter((other) => other !== id)]);
      }
      return await revokeEnrollToken(tx, accountId, id, now)
        ? await unlisted(tx, request)
        : undefined;
    }
    case "user": {
      const user = await tx.selectFrom("users").select("id").where("account_id", "=", accountId)
        .where(({ eb }) => eb("id", "=", id).or("name", "=", id)).executeTakeFirst();
      if (!user) return undefined;
      await endTokensOf(tx, accountId, user.id, { now });
      return await revokeAll(tx, request, kind, [user.id]);
    }
    case "node":
      return await removeNode(tx, accountId, id, now) ? await unlisted(tx, request) : undefined;
  }
}

async function revokeAll(
  tx: Tx,
  { accountId, by, reason, now }: RevocationRequest,
  kind: RevocationEntry["kind"],
  ids: readonly string[],
): Promise<Revoked> {
  const version = await listRevoked(tx, accountId, kind, ids, { by, reason, now });
  return { version, id: ids[0]! };
}

/** No certificate names it, so that no list has to. */
const unlisted = async (tx: Tx, { accountId, id }: RevocationRequest): Promise<Revoked> => ({
  version: await readVersion(tx, accountId) ?? 0,
  id,
});

async function isUserToken(tx: Tx, accountId: string, id: string): Promise<boolean> {
  const row = await tx.selectFrom("user_tokens").select("id").where("account_id", "=", accountId)
    .where("id", "=", id).executeTakeFirst();
  return row !== undefined;
}

/**
 * Puts what the control plane itself refuses by now into the list of the nodes, whose version is returned.
 * Of a user nothing is believed that was issued so far.
 */
export async function listRevoked(
  tx: Tx,
  accountId: string,
  kind: RevocationEntry["kind"],
  ids: readonly string[],
  told: Told,
): Promise<number> {
  const { now } = told, version = await nextVersion(tx, accountId, now);
  await forgetOld(tx, accountId, now);
  await makeRoom(tx, accountId, ids.length, { version, now });
  const issuedBefore = kind === "user" ? now + CLOCKS_MS : undefined;
  const entries = ids.map((id) => ({ kind, id, issuedBefore }));
  await writeEntries(tx, accountId, entries, { version, ...told });
  return version;
}

/** Who says so, why and when. */
interface Told {
  readonly by: string;
  readonly reason: string;
  readonly now: number;
}

/** Those that were made before a time, or all; his enrollment tokens too. */
async function endTokensOf(
  tx: Tx,
  accountId: string,
  userId: string,
  { now, madeBefore = Number.MAX_SAFE_INTEGER }: { now: number; madeBefore?: number },
): Promise<void> {
  const own = await tx.selectFrom("user_tokens").select("id").where("account_id", "=", accountId)
    .where("user_id", "=", userId).where("created_at", "<", madeBefore).execute();
  const ids = own.map(({ id }) => id);
  await revokeUserTokens(tx, accountId, ids, { now, keepMade: false });
  await tx.updateTable("enroll_tokens").set({ revoked_at: now }).where("account_id", "=", accountId)
    .where("created_by", "=", userId).where("created_at", "<", madeBefore)
    .where("revoked_at", "is", null).execute();
}

/**
 * Above every earlier one, and above all that a database knew which was replaced by its backup: by the
 * time, two lines of versions from one backup do not meet. The row is locked until the transaction ends.
 */
async function nextVersion(tx: Tx, accountId: string, now: number): Promise<number> {
  const { version } = await tx.insertInto("revocation_versions")
    .values({ account_id: accountId, version: now })
    .onConflict((conflict) =>
      conflict.column("account_id").doUpdateSet({
        version: sql<number>`case when revocation_versions.version >= ${now}
          then revocation_versions.version + 1 else ${now} end`,
      })
    )
    .returning("version").executeTakeFirstOrThrow();
  return version;
}

/** Of one statement: what a database takes, and one answer of it for many rows. */
const ROWS = 500;

/** No two of them are of one kind and id. */
async function writeEntries(
  tx: Tx,
  accountId: string,
  entries: readonly RevocationEntry[],
  { version, by, reason, now }: Told & { readonly version: number },
): Promise<void> {
  const same = { version, revoked_at: now, revoked_by: by, reason, listed: 1 };
  for (let i = 0; i < entries.length; i += ROWS) {
    await tx.insertInto("revocations").values(
      entries.slice(i, i + ROWS).map(({ kind, id, issuedBefore }) => ({
        account_id: accountId,
        kind,
        id,
        issued_before: issuedBefore ?? null,
        ...same,
      })),
    ).onConflict((conflict) =>
      conflict.columns(["account_id", "kind", "id"]).doUpdateSet({
        ...same,
        issued_before: sql<number | null>`case
          when revocations.issued_before > excluded.issued_before then revocations.issued_before
          else excluded.issued_before end`,
      })
    ).execute();
  }
}

/** Those that no certificate can be alive for. */
async function forgetOld(tx: Tx, accountId: string, now: number): Promise<void> {
  await tx.deleteFrom("revocations").where("account_id", "=", accountId)
    .where(({ eb, and, or }) =>
      or([
        and([eb("kind", "!=", "cert"), eb("revoked_at", "<", now - KEPT_MS)]),
        eb("revoked_at", "<", now - CERTS_KEPT_MS),
      ])
    ).execute();
}

/**
 * A list that would be too long becomes one entry that ends every certificate of the account issued so
 * far: more than was asked for, and never less. The rows stay, for what the control plane refuses itself.
 */
async function makeRoom(
  tx: Tx,
  accountId: string,
  more: number,
  { version, now }: { readonly version: number; readonly now: number },
): Promise<void> {
  const { listed } = await tx.selectFrom("revocations")
    .select(({ fn }) => fn.countAll().as("listed"))
    .where("account_id", "=", accountId).where("listed", "=", 1).executeTakeFirstOrThrow();
  if (Number(listed) + more <= MOST_LISTED) return;
  await tx.updateTable("revocations").set({ listed: 0 }).where("account_id", "=", accountId)
    .execute();
  await writeEntries(
    tx,
    accountId,
    [{ kind: "account", id: accountId, issuedBefore: now + CLOCKS_MS }],
    { version, by: "system", reason: `more than ${MOST_LISTED} revocations`, now },
  );
}

/** The version is 0 where nothing was ever revoked. */
export async function readRevocations(
  tx: Tx,
  accountId: string,
): Promise<{ readonly version: number; readonly revocations: readonly Revocation[] }> {
  const rows = await tx.selectFrom("revocations").selectAll().where("account_id", "=", accountId)
    .orderBy("version", "desc").orderBy("kind").orderBy("id").execute();
  return {
    version: await readVersion(tx, accountId) ?? 0,
    revocations: rows.map((row) => ({
      kind: row.kind as Revocation["kind"],
      id: row.id,
      issuedBefore: row.issued_before ?? undefined,
      version: row.version,
      revokedAt: row.revoked_at,
      by: row.revoked_by,
      reason: row.reason,
      listed: row.listed === 1,
    })),
  };
}

async function readVersion(tx: Tx, accountId: string): Promise<number | undefined> {
  const row = await tx.selectFrom("revocation_versions").select("version")
    .where("account_id", "=", accountId).executeTakeFirst();
  return row?.version;
}

/** Whether the account's list had this version, as far as the database remembers. */
export async function knowsVersion(tx: Tx, accountId: string, version: number): Promise<boolean> {
  const row = await tx.selectFrom("revocations").select("id").where("account_id", "=", accountId)
    .where("version", "=", version).limit(1).executeTakeFirst();
  return row !== undefined;
}

/**
 * Takes over what a list holds that was signed here and is not remembered: a backup was restored. The
 * version then is above both. Returns what was missing.
 */
export async function adoptRevocations(
  tx: Tx,
  accountId: string,
  held: HeldRevocations,
  by: string,
  now: number,
): Promise<readonly RevocationEntry[]> {
  const { revocations } = await readRevocations(tx, accountId);
  const known = new Map(revocations.map((one) => [`${one.kind} ${one.id}`, one]));
  const missing = held.entries.filter(({ kind, id, issuedBefore = 0 }) => {
    const own = known.get(`${kind} ${id}`);
    return !own || (own.issuedBefore ?? 0) < issuedBefore;
  });
  const current = await readVersion(tx, accountId) ?? 0;
  if (missing.length === 0 && current > held.version) return [];
  const version = await nextVersion(tx, accountId, Math.max(now, held.version + 1));
  await makeRoom(tx, accountId, missing.length, { version, now });
  const reason = "in a list that was signed here before the database was restored";
  const tokens = missing.filter(({ kind }) => kind === "token").map(({ id }) => id);
  await revokeUserTokens(tx, accountId, tokens, { now, keepMade: false });
  for (const { kind, id, issuedBefore } of missing) {
    if (kind === "user") await endTokensOf(tx, accountId, id, { now, madeBefore: issuedBefore });
  }
  await writeEntries(tx, accountId, missing, { version, by, reason, now });
  return missing;
}
