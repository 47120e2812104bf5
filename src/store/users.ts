/** The users of an account and their rules, as rows. */
import type { Transaction } from "kysely";
import { formatGrant, type Grant } from "../access/grant.ts";
import { OpenboxError } from "../errors.ts";
import { newRuleId, newUserId } from "../ids.ts";
import type { NewRule, NewUser, RevokeOptions, RuleRecord, User, UserRecord } from "./store.ts";
import type { Tables } from "./tables.ts";
import { revokeTokensOf } from "./user_tokens.ts";

type Tx = Transaction<Tables>;

const MOST_USERS = 1000, MOST_RULES = 64;

/** What a user has from the start. */
const STANDARD: readonly Grant[] = [{ verb: "read", limits: [] }, { verb: "run", limits: [] }];
const ADMIN: Grant = { verb: "admin", limits: [] };

/** The first user of an account, who may say what the others may. */
export const firstRules: readonly Grant[] = [...STANDARD, ADMIN];

/** Rejects with `conflict` for a name that is taken, `quota` where there is no room. */
export async function insertUser(
  tx: Tx,
  { accountId, name, rules = STANDARD, createdBy, now }: NewUser,
): Promise<User> {
  const user: User = { accountId, id: newUserId(), name };
  const { users } = await tx.selectFrom("users").select(({ fn }) => fn.countAll().as("users"))
    .where("account_id", "=", accountId).where("removed_at", "is", null).executeTakeFirstOrThrow();
  if (Number(users) >= MOST_USERS) {
    throw new OpenboxError("quota", `The account has ${MOST_USERS} users already`, {
      hint: "openbox user list, openbox user rm NAME",
    });
  }
  const inserted = await tx.insertInto("users")
    .values({ id: user.id, account_id: accountId, name, created_at: now })
    .onConflict((conflict) => conflict.doNothing()).executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows !== 1n) {
    throw new OpenboxError("conflict", `There is a user ${name} already`, {
      hint: "openbox user list",
    });
  }
  for (const grant of rules) await insertRule(tx, { user, grant, createdBy, now });
  return user;
}

/** Without a name it has its verb's, with a number where that is taken. */
export async function insertRule(tx: Tx, rule: NewRule): Promise<RuleRecord> {
  const { user: { accountId, id: userId }, grant, createdBy, now } = rule;
  const there = await readRules(tx, accountId, userId);
  if (there.length >= MOST_RULES) {
    throw new OpenboxError("quota", `The user has ${MOST_RULES} rules already`, {
      hint: "openbox rule list, openbox rule rm ID",
    });
  }
  const taken = new Set(there.map(({ name }) => name));
  const record: RuleRecord = {
    id: newRuleId(),
    userId,
    name: rule.name ?? freeName(grant.verb, taken),
    grant: formatGrant(grant),
    createdAt: now,
  };
  if (taken.has(record.name)) {
    throw new OpenboxError("conflict", `The user has a rule ${record.name} already`, {
      hint: "openbox rule list",
    });
  }
  await tx.insertInto("rules").values({
    id: record.id,
    account_id: accountId,
    user_id: userId,
    name: record.name,
    grant_text: record.grant,
    created_at: now,
    created_by: createdBy ?? null,
  }).execute();
  return record;
}

function freeName(verb: string, taken: ReadonlySet<string>): string {
  for (let n = 1;; n++) {
    const name = n === 1 ? verb : `${verb}-${n}`;
    if (!taken.has(name)) return name;
  }
}

/** Those of one user, or of all, in the order in which they were made. */
export async function readRules(
  tx: Tx,
  accountId: string,
  userId: string | undefined,
): Promise<RuleRecord[]> {
  let query = tx.selectFrom("rules").selectAll().where("account_id", "=", accountId);
  if (userId !== undefined) query = query.where("user_id", "=", userId);
  const rows = await query.orderBy("created_at").orderBy("name").execute();
  return rows.map((row) => ({
    id: row.id,
    userId: row.user_id,
    name: row.name,
    grant: row.grant_text,
    createdAt: row.created_at,
  }));
}

/** False where there is none. */
export async function removeRule(tx: Tx, accountId: string, ruleId: string): Promise<boolean> {
  const { numDeletedRows } = await tx.deleteFrom("rules").where("account_id", "=", accountId)
    .where("id", "=", ruleId).executeTakeFirst();
  return numDeletedRows > 0n;
}

/** By name. */
export async function readUsers(tx: Tx, accountId: string, now: number): Promise<UserRecord[]> {
  const users = await tx.selectFrom("users").selectAll().where("account_id", "=", accountId)
    .where("removed_at", "is", null).orderBy("name").execute();
  const rules = Map.groupBy(await readRules(tx, accountId, undefined), ({ userId }) => userId);
  const tokens = new Map(
    (await tx.selectFrom("user_tokens")
      .select(({ fn }) => ["user_id", fn.countAll().as("tokens")])
      .where("account_id", "=", accountId).where("revoked_at", "is", null)
      .where("expires_at", ">", now).groupBy("user_id").execute())
      .map((row) => [row.user_id, Number(row.tokens)]),
  );
  return users.map(({ id, name, created_at }) => ({
    accountId,
    id,
    name,
    createdAt: created_at,
    rules: rules.get(id) ?? [],
    tokens: tokens.get(id) ?? 0,
  }));
}

/** A living one. */
export async function readUser(
  tx: Tx,
  accountId: string,
  { id, name }: { readonly id?: string; readonly name?: string },
): Promise<User | undefined> {
  let query = tx.selectFrom("users").select(["id", "name"]).where("account_id", "=", accountId)
    .where("removed_at", "is", null);
  query = id !== undefined ? query.where("id", "=", id) : query.where("name", "=", name ?? "");
  const row = await query.executeTakeFirst();
  return row && { accountId, ...row };
}

/**
 * The user is gone, with his rules, his tokens and, unless they are to stay, his enrollment tokens; his
 * sessions are ended by their nodes. His row stays, under a name that nobody can have. Returns the ids of
 * the tokens, those of others that fell with them too; undefined where there is no such user.
 */
export async function removeUser(
  tx: Tx,
  accountId: string,
  userId: string,
  options: RevokeOptions,
): Promise<readonly string[] | undefined> {
  const { now, keepMade } = options;
  const user = await readUser(tx, accountId, { id: userId });
  if (!user) return undefined;
  await tx.updateTable("users").set({ removed_at: now, name: `${user.name}#${userId}` })
    .where("account_id", "=", accountId).where("id", "=", userId).execute();
  await tx.deleteFrom("rules").where("account_id", "=", accountId).where("user_id", "=", userId)
    .execute();
  if (!keepMade) {
    await tx.updateTable("enroll_tokens").set({ revoked_at: now })
      .where("account_id", "=", accountId).where("created_by", "=", userId)
      .where("revoked_at", "is", null).execute();
  }
  const sessions = await tx.deleteFrom("sessions").where("account_id", "=", accountId)
    .where("user_id", "=", userId).returning(["node_id", "name"]).execute();
  for (const { node_id, name } of sessions) {
    await tx.insertInto("session_ends")
      .values({ account_id: accountId, node_id, user_id: userId, name, requested_at: now })
      .onConflict((conflict) => conflict.doNothing()).execute();
  }
  return await revokeTokensOf(tx, accountId, userId, options);
}

export interface KeepAdmin {
  readonly accountId: string;
  readonly now: number;
  /** Even where nobody is left who may say who may. */
  readonly force: boolean;
}

/**
 * Makes the change, unless it takes away the last token with which somebody may do everything: `conflict`
 * then. Of two such changes at once one waits for the other.
 */
export async function keepingAdmin<T>(
  tx: Tx,
  { accountId, now, force }: KeepAdmin,
  change: () => Promise<T>,
): Promise<T> {
  await lockAccount(tx, accountId);
  const before = await hasAdmin(tx, accountId, now);
  const result = await change();
  if (force || !before || await hasAdmin(tx, accountId, now)) return result;
  throw new OpenboxError(
    "conflict",
    "Nobody would be left who may administer this account",
    {
      hint: "--force does it all the same; then openbox control --new-token USER on the control " +
        "plane's machine is the way back",
    },
  );
}

/** Whoever else changes users and rules of the account waits. An update is a lock, on every database. */
export async function lockAccount(tx: Tx, accountId: string): Promise<void> {
  await tx.updateTable("accounts").set(({ ref }) => ({ created_at: ref("created_at") }))
    .where("account_id", "=", accountId).execute();
}

/** Whether there is a token that allows everything. */
async function hasAdmin(tx: Tx, accountId: string, now: number): Promise<boolean> {
  const row = await tx.selectFrom("user_tokens")
    .innerJoin("users", "users.id", "user_tokens.user_id")
    .innerJoin("rules", "rules.user_id", "users.id")
    .select("user_tokens.id")
    .where("user_tokens.account_id", "=", accountId).where("grant_text", "=", formatGrant(ADMIN))
    .where("removed_at", "is", null).where("revoked_at", "is", null).where("expires_at", ">", now)
    .where(({ eb }) => eb("scopes", "is", null).or("scopes", "like", '%"admin"%'))
    .limit(1).executeTakeFirst();
  return row !== undefined;
}

/** The rule `admin`, unless somebody in the account has it. True where it was given. */
export async function ensureAdmin(tx: Tx, user: User, now: number): Promise<boolean> {
  const { accountId } = user;
  const admins = await tx.selectFrom("rules").select("id").where("account_id", "=", accountId)
    .where("grant_text", "=", formatGrant(ADMIN)).limit(1).executeTakeFirst();
  if (admins) return false;
  await insertRule(tx, { user, grant: ADMIN, now });
  return true;
}
