/** Users' tokens as rows: of the secret only its hash, and which token each was made with. */
import type { Transaction } from "kysely";
import type { Rule, Scopes } from "../access/decide.ts";
import { formatGrant, type Grant, parseGrant } from "../access/grant.ts";
import { OpenboxError } from "../errors.ts";
import { newTokenId } from "../ids.ts";
import type { HeldTimes } from "./held_times.ts";
import type { NewUserToken, RevokeOptions, TokenRecord, User } from "./store.ts";
import type { Tables } from "./tables.ts";
import { tokenHash } from "./token_hash.ts";

type Tx = Transaction<Tables>;

/** Of one user, those that are over not counted. */
const MOST_TOKENS = 100;

/** Its id. Rejects with `conflict`, `quota`, or `unauthorized` where the token that makes it is over. */
export async function insertUserToken(
  tx: Tx,
  { accountId, id: userId }: User,
  token: NewUserToken,
): Promise<string> {
  const id = newTokenId(), hash = tokenHash(token.token);
  if (token.madeWith !== undefined) await holdToken(tx, accountId, token.madeWith);
  const known = await tx.selectFrom("user_tokens").select("id").where("hash", "=", hash)
    .executeTakeFirst();
  if (known) throw new OpenboxError("conflict", "This token is known already");
  const { tokens } = await tx.selectFrom("user_tokens")
    .select(({ fn }) => fn.countAll().as("tokens"))
    .where("account_id", "=", accountId).where("user_id", "=", userId)
    .where("revoked_at", "is", null).where("expires_at", ">", token.createdAt)
    .executeTakeFirstOrThrow();
  // what openbox makes itself is the way back for who is locked out
  if (token.madeWith !== undefined && Number(tokens) >= MOST_TOKENS) {
    throw new OpenboxError("quota", `The user has ${MOST_TOKENS} tokens already`, {
      hint: "openbox token list, openbox token revoke ID",
    });
  }
  await tx.insertInto("user_tokens").values({
    id,
    account_id: accountId,
    user_id: userId,
    name: token.name,
    hash,
    created_at: token.createdAt,
    expires_at: token.expiresAt,
    last_used_at: null,
    scopes: token.scopes === "all" ? null : JSON.stringify(token.scopes.map(formatGrant)),
    created_by_token: token.madeWith ?? null,
  }).execute();
  return id;
}

/**
 * The token that something is made with is good, and stays so until the transaction ends: a revocation at
 * the same time comes before it, or finds what was made.
 */
export async function holdToken(tx: Tx, accountId: string, tokenId: string): Promise<void> {
  const held = await tx.updateTable("user_tokens").set(({ ref }) => ({ name: ref("name") }))
    .where("account_id", "=", accountId).where("id", "=", tokenId).where("revoked_at", "is", null)
    .executeTakeFirst();
  if (held.numUpdatedRows !== 1n) {
    throw new OpenboxError("unauthorized", "The user token was revoked just now", {
      hint: "openbox login",
    });
  }
}

/** Those that are good, the newest last; of all users or of one. */
export async function readUserTokens(
  tx: Tx,
  accountId: string,
  filter: { readonly userId?: string; readonly id?: string },
  now: number,
  used: HeldTimes,
): Promise<TokenRecord[]> {
  let query = tx.selectFrom("user_tokens").innerJoin("users", "users.id", "user_tokens.user_id")
    .select([
      "user_tokens.id",
      "user_tokens.name",
      "user_tokens.created_at as createdAt",
      "expires_at as expiresAt",
      "last_used_at as lastUsedAt",
      "scopes",
      "created_by_token as madeWith",
      "users.id as userId",
      "users.name as userName",
    ])
    .where("user_tokens.account_id", "=", accountId).where("revoked_at", "is", null)
    .where("removed_at", "is", null).where("expires_at", ">", now);
  if (filter.userId !== undefined) query = query.where("users.id", "=", filter.userId);
  if (filter.id !== undefined) query = query.where("user_tokens.id", "=", filter.id);
  const rows = await query.orderBy("user_tokens.created_at").orderBy("user_tokens.id").execute();
  return rows.map(({ scopes, madeWith, lastUsedAt, ...row }) => ({
    ...row,
    scopes: scopes === null ? undefined : JSON.parse(scopes),
    madeWith: madeWith ?? undefined,
    lastUsedAt: used.latest(row.id, lastUsedAt ?? 0) || undefined,
  }));
}

/** All tokens of the user. */
export async function revokeTokensOf(
  tx: Tx,
  accountId: string,
  userId: string,
  options: RevokeOptions,
): Promise<readonly string[]> {
  const rows = await tx.selectFrom("user_tokens").select("id").where("account_id", "=", accountId)
    .where("user_id", "=", userId).execute();
  return await revokeUserTokens(tx, accountId, rows.map(({ id }) => id), options);
}

/** Within what an `in` takes on every database. */
const STEP = 500;

/**
 * The tokens are good no more. Returns the ids of the user tokens that went, the named ones first; empty where
 * they are unknown or over already.
 */
export async function revokeUserTokens(
  tx: Tx,
  accountId: string,
  first: readonly string[],
  { now, keepMade }: RevokeOptions,
): Promise<readonly string[]> {
  const revoked: string[] = [], seen = new Set(first);
  for (const waiting = [...first]; waiting.length > 0;) {
    const ids = waiting.splice(0, STEP);
    const ended = await tx.updateTable("user_tokens").set({ revoked_at: now })
      .where("account_id", "=", accountId).where("id", "in", ids).where("revoked_at", "is", null)
      .returning("id").execute();
    revoked.push(...ended.map(({ id }) => id));
    if (keepMade) {
      for (const id of ids) await handOn(tx, accountId, id);
      continue;
    }
    await tx.updateTable("enroll_tokens").set({ revoked_at: now })
      .where("account_id", "=", accountId).where("created_by_token", "in", ids)
      .where("revoked_at", "is", null).execute();
    const children = await tx.selectFrom("user_tokens").select("id")
      .where("account_id", "=", accountId).where("created_by_token", "in", ids).execute();
    for (const { id } of children) {
      if (seen.has(id)) continue;
      seen.add(id);
      waiting.push(id);
    }
  }
  return revoked;
}

/** What the token made hangs from the one that made it from now on, and goes with that one. */
async function handOn(tx: Tx, accountId: string, id: string): Promise<void> {
  const maker = await tx.selectFrom("user_tokens").select("created_by_token")
    .where("account_id", "=", accountId).where("id", "=", id).executeTakeFirst();
  for (const table of ["user_tokens", "enroll_tokens"] as const) {
    await tx.updateTable(table).set({ created_by_token: maker?.created_by_token ?? null })
      .where("account_id", "=", accountId).where("created_by_token", "=", id).execute();
  }
}

/** A text that this program cannot read allows nothing. */
function readGrant(text: string): Grant | undefined {
  try {
    return parseGrant(text);
  } catch {
    return undefined;
  }
}

export function toRule(id: string, name: string, text: string): Rule | undefined {
  const grant = readGrant(text);
  return grant && { id, name, grant };
}

/** The column's text; an unreadable scope is left out, and a list without scopes allows nothing. */
export const toScopes = (text: string | null): Scopes =>
  text === null
    ? "all"
    : (JSON.parse(text) as string[]).map(readGrant).filter((grant) => grant !== undefined);
