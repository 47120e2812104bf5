/** Enrollment tokens as rows. */
import type { Transaction } from "kysely";
import { OpenboxError } from "../errors.ts";
import { newTokenId } from "../ids.ts";
import type { EnrollTokenRecord, NewEnrollToken } from "./store.ts";
import type { Tables } from "./tables.ts";
import { tokenHash } from "./token_hash.ts";
import { holdToken } from "./user_tokens.ts";

type Tx = Transaction<Tables>;

/** Of an account, those that are good for nothing any more not counted. */
const MOST_ENROLL_TOKENS = 1000;

/** Its id. */
export async function insertEnrollToken(tx: Tx, token: NewEnrollToken): Promise<string> {
  const id = newTokenId(), { accountId } = token;
  if (token.madeWith !== undefined) await holdToken(tx, accountId, token.madeWith);
  const { tokens } = await living(tx, accountId, token.createdAt)
    .select(({ fn }) => fn.countAll().as("tokens")).executeTakeFirstOrThrow();
  if (Number(tokens) >= MOST_ENROLL_TOKENS) {
    throw new OpenboxError("quota", `${MOST_ENROLL_TOKENS} enrollment tokens wait to be used`, {
      hint: "openbox node tokens lists them, and ends one with --revoke ID",
    });
  }
  await tx.insertInto("enroll_tokens").values({
    id,
    account_id: accountId,
    hash: tokenHash(token.secret),
    tags: JSON.stringify(token.tags),
    created_by: token.createdBy,
    created_by_token: token.madeWith ?? null,
    created_at: token.createdAt,
    expires_at: token.expiresAt,
    used_at: null,
    used_by: null,
    name: token.name ?? null,
    uses: token.uses,
    uses_left: token.uses,
    ephemeral_ms: token.ephemeralMs ?? null,
  }).execute();
  return id;
}

/** In the words of the index for them: with a bound 0 it would not be used. */
const living = (tx: Tx, accountId: string, now: number) =>
  tx.selectFrom("enroll_tokens").where("account_id", "=", accountId)
    .where("revoked_at", "is", null).where(({ eb, lit }) => eb("uses_left", ">", lit(0)))
    .where("expires_at", ">", now);

/** Those that can still make a node, the newest last. */
export async function readEnrollTokens(
  tx: Tx,
  accountId: string,
  now: number,
): Promise<EnrollTokenRecord[]> {
  const rows = await living(tx, accountId, now).selectAll().orderBy("created_at").orderBy("id")
    .execute();
  return rows.map((row) => ({
    id: row.id,
    name: row.name ?? undefined,
    tags: JSON.parse(row.tags),
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    uses: row.uses,
    usesLeft: row.uses_left,
    ephemeralMs: row.ephemeral_ms ?? undefined,
  }));
}

/** False where there is none that could still make a node. */
export async function revokeEnrollToken(
  tx: Tx,
  accountId: string,
  tokenId: string,
  now: number,
): Promise<boolean> {
  const revoked = await tx.updateTable("enroll_tokens").set({ revoked_at: now })
    .where("account_id", "=", accountId).where("id", "=", tokenId)
    .where("revoked_at", "is", null).where("uses_left", ">", 0).where("expires_at", ">", now)
    .executeTakeFirst();
  return revoked.numUpdatedRows > 0n;
}
