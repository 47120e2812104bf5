/**
 * What is not to be believed any more. A revocation holds for the control plane with its transaction: a
 * token ends in the row that it is looked up by, and no clock brings it back. What nodes have to know is
 * the account's list, whose version only rises, also beyond what a restored database remembers of it.
 */
import { sql, type Transaction } from "kysely";
import { OpenboxError } from "../errors.ts";
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
/** Of one account's list: nodes and heartbeat answers have limits. Once for what ends, once for what lasts. */
const MOST_LISTED = 10_000;
/** Tokens of one user in it: whoever makes and revokes without end comes to this, and harms himself only. */
const MOST_OF_USER = 1000;
/** Whoever stole a CA or an operations key writes any time of issue: nothing that names a time stands for these. */
const LASTING = ["key", "cert"] as const;
const isLasting = (kind: RevocationEntry["kind"]) => LASTING.some((one) => one === kind);
/** Another control plane on this database may issue by a clock that is this much ahead. */
const CLOCKS_MS = 60_000;

/** Undefined where the account has no such token, user or node. */
export async function revoke(tx: Tx, request: RevocationRequest): Promise<Revoked | undefined> {
  const { accountId, kind, id, now } = request;
  switch (kind) {
    case "cert":
    case "key":
      await needRoomFor(tx, accountId, kind, id);
      return await revokeAll(tx, request, [{ kind, id }]);
    case "token": {
      const ended = await revokeUserTokens(tx, accountId, [id], { now, keepMade: false });
      if (ended.length > 0 || await isUserToken(tx, accountId, id)) {
        const made = ended.filter((other) => other !== id);
        return await revokeAll(tx, request, [toToken(id), ...made.map(toToken)]);
      }
      return await revokeEnrollToken(tx, accountId, id, now)
        ? await unlisted(tx, request)
        : undefined;
    }
    case "user": {
      const user = await tx.selectFrom("users").select("id").where("account_id", "=", accountId)
        .where(({ eb }) => eb("id", "=", id).or("name", "=", id)).executeTakeFirst();
      if (!user) return undefined;
      const fallen = await endTokensOf(tx, accountId, user.id, { now });
      return await revokeAll(tx, request, [{ kind, id: user.id }, ...fallen.map(toToken)]);
    }
    case "node":
      return await removeNode(tx, accountId, id, now) ? await unlisted(tx, request) : undefined;
  }
}

async function revokeAll(
  tx: Tx,
  { accountId, by, reason, now }: RevocationRequest,
  entries: readonly [Named, ...Named[]],
): Promise<Revoked> {
  const version = await listRevoked(tx, accountId, entries, { by, reason, now });
  return { version, id: entries[0].id };
}

type Named = Pick<RevocationEntry, "kind" | "id">;
const toToken = (id: string): Named => ({ kind: "token", id });

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
  revoked: readonly Named[],
  told: Told,
): Promise<number> {
  const { now } = told, version = await nextVersion(tx, accountId, now);
  await forgetOld(tx, accountId, now);
  const entries = revoked.map(({ kind, id }) => ({
    kind,
    id,
    issuedBefore: kind === "user" ? now + CLOCKS_MS : undefined,
  }));
  await makeRoom(tx, accountId, entries, { version, now });
  await writeEntries(tx, accountId, entries, { version, ...told });
  await gatherTokens(tx, accountId, { version, now });
  return version;
}

/** The tokens of others that fell with this user's: his own are covered by what is listed of him. */
export async function ofOthers(
  tx: Tx,
  accountId: string,
  userId: string,
  tokenIds: readonly string[],
): Promise<readonly string[]> {
  const others: string[] = [];
  for (let i = 0; i < tokenIds.length; i += ROWS) {
    const rows = await tx.selectFrom("user_tokens").select("id").where("account_id", "=", accountId)
      .where("user_id", "!=", userId).where("id", "in", tokenIds.slice(i, i + ROWS)).execute();
    others.push(...rows.map(({ id }) => id));
  }
  return others;
}

/** Who says so, why and when. */
interface Told {
  readonly by: string;
  readonly reason: string;
  readonly now: number;
}

/**
 * Those that were made before a time, or all; his enrollment tokens too. Returns the tokens of other users
 * that were made with them and ended too.
 */
async function endTokensOf(
  tx: Tx,
  accountId: string,
  userId: string,
  { now, madeBefore = Number.MAX_SAFE_INTEGER }: { now: number; madeBefore?: number },
): Promise<readonly string[]> {
  const own = await tx.selectFrom("user_tokens").select("id").where("account_id", "=", accountId)
    .where("user_id", "=", userId).where("created_at", "<", madeBefore).execute();
  const ids = own.map(({ id }) => id);
  const ended = await revokeUserTokens(tx, accountId, ids, { now, keepMade: false });
  await tx.updateTable("enroll_tokens").set({ revoked_at: now }).where("account_id", "=", accountId)
    .where("created_by", "=", userId).where("created_at", "<", madeBefore)
    .where("revoked_at", "is", null).execute();
  return await ofOthers(tx, accountId, userId, ended);
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
  await tx.insertInto("list_versions").values({ account_id: accountId, version })
    .onConflict((conflict) => conflict.doNothing()).execute();
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

/** Those that no certificate can be alive for. A key has no end: whoever has it makes new certificates. */
async function forgetOld(tx: Tx, accountId: string, now: number): Promise<void> {
  await tx.deleteFrom("revocations").where("account_id", "=", accountId)
    .where(({ eb, and, or }) =>
      or([
        and([eb("kind", "not in", LASTING), eb("revoked_at", "<", now - KEPT_MS)]),
        and([eb("kind", "=", "cert"), eb("revoked_at", "<", now - CERTS_KEPT_MS)]),
      ])
    ).execute();
  await tx.deleteFrom("list_versions").where("account_id", "=", accountId)
    .where("version", "<", now - CERTS_KEPT_MS).execute();
}

/** Whether an entry of a list of that version would be forgotten by now: versions are times. */
const isForgotten = (kind: RevocationEntry["kind"], version: number, now: number): boolean =>
  kind !== "key" && version < now - (kind === "cert" ? CERTS_KEPT_MS : KEPT_MS);

/** Only who may administer the account gets here; to say so is better than a list that leaves a key out. */
async function needRoomFor(
  tx: Tx,
  accountId: string,
  kind: RevocationEntry["kind"],
  id: string,
): Promise<void> {
  const lasting = tx.selectFrom("revocations").where("account_id", "=", accountId)
    .where("kind", "in", LASTING);
  const { listed } = await lasting.select(({ fn }) => fn.countAll().as("listed"))
    .executeTakeFirstOrThrow();
  if (Number(listed) < MOST_LISTED) return;
  const known = await lasting.select("id").where("kind", "=", kind).where("id", "=", id)
    .executeTakeFirst();
  if (known) return;
  throw new OpenboxError("quota", `${MOST_LISTED} keys and certificates are revoked already`, {
    hint: "revoke the users whose they are: openbox revoke user USER",
  });
}

/** The tokens of a user become one entry that ends all that was issued to him so far. */
async function gatherTokens(
  tx: Tx,
  accountId: string,
  { version, now }: { readonly version: number; readonly now: number },
): Promise<void> {
  const many = await tx.selectFrom("revocations")
    .innerJoin("user_tokens", "user_tokens.id", "revocations.id").select("user_id")
    .where("revocations.account_id", "=", accountId)
    .where("user_tokens.account_id", "=", accountId)
    .where("kind", "=", "token").where("listed", "=", 1)
    .groupBy("user_id").having(({ fn }) => fn.countAll(), ">", MOST_OF_USER).execute();
  for (const { user_id: id } of many) {
    await tx.updateTable("revocations").set({ listed: 0 }).where("account_id", "=", accountId)
      .where("kind", "=", "token").where(
        "id",
        "in",
        (eb) =>
          eb.selectFrom("user_tokens").select("id").where("account_id", "=", accountId)
            .where("user_id", "=", id),
      ).execute();
    await writeEntries(
      tx,
      accountId,
      [{ kind: "user", id, issuedBefore: now + CLOCKS_MS }],
      { version, by: "system", reason: `more than ${MOST_OF_USER} tokens of the user`, now },
    );
  }
}

/**
 * A list that would be too long becomes one entry that ends every certificate of the account issued so
 * far: more than was asked for, and never less. Keys and certificates stay in it. The other rows stay here,
 * for what the control plane refuses itself.
 */
async function makeRoom(
  tx: Tx,
  accountId: string,
  entries: readonly RevocationEntry[],
  { version, now }: { readonly version: number; readonly now: number },
): Promise<void> {
  const { listed } = await tx.selectFrom("revocations")
    .select(({ fn }) => fn.countAll().as("listed"))
    .where("account_id", "=", accountId).where("kind", "not in", LASTING)
    .where("listed", "=", 1).executeTakeFirstOrThrow();
  const more = entries.filter(({ kind }) => !isLasting(kind)).length;
  if (more === 0 || Number(listed) + more <= MOST_LISTED) return;
  await tx.updateTable("revocations").set({ listed: 0 }).where("account_id", "=", accountId)
    .where("kind", "not in", LASTING).execute();
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

/** Whether the account's list had this version: those of the last 100 days are remembered, and the empty one. */
export async function knowsVersion(tx: Tx, accountId: string, version: number): Promise<boolean> {
  if (version === 0) return true;
  const row = await tx.selectFrom("list_versions").select("version")
    .where("account_id", "=", accountId).where("version", "=", version).executeTakeFirst();
  return row !== undefined;
}

/** Whether an account revoked this certificate of the installation's, or its key. */
export async function isSignerRevoked(
  tx: Tx,
  serial: bigint,
  fingerprint: string,
): Promise<boolean> {
  const row = await tx.selectFrom("revocations").select("id").where(({ eb, and, or }) =>
    or([
      and([eb("kind", "=", "cert"), eb("id", "=", String(serial))]),
      and([eb("kind", "=", "key"), eb("id", "=", fingerprint)]),
    ])
  ).limit(1).executeTakeFirst();
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
    if (isForgotten(kind, held.version, now)) return false;
    const own = known.get(`${kind} ${id}`);
    return !own || (own.issuedBefore ?? 0) < issuedBefore;
  });
  const current = await readVersion(tx, accountId) ?? 0;
  if (missing.length === 0 && current > held.version) return [];
  const version = await nextVersion(tx, accountId, Math.max(now, held.version + 1));
  const reason = "in a list that was signed here before the database was restored";
  const tokens = missing.filter(({ kind }) => kind === "token").map(({ id }) => id);
  const ended = new Set(await revokeUserTokens(tx, accountId, tokens, { now, keepMade: false }));
  for (const { kind, id, issuedBefore } of missing) {
    if (kind !== "user") continue;
    const options = { now, madeBefore: issuedBefore };
    for (const fallen of await endTokensOf(tx, accountId, id, options)) ended.add(fallen);
  }
  for (const id of tokens) ended.delete(id);
  const entries = [
    ...missing,
    ...[...ended].map((id) => ({ ...toToken(id), issuedBefore: undefined })),
  ];
  await makeRoom(tx, accountId, entries, { version, now });
  await writeEntries(tx, accountId, entries, { version, by, reason, now });
  return missing;
}
