/** The part of the store that says who may do what: users, their rules and tokens, and enrollment tokens. */
import type { Transaction } from "kysely";
import type { AuditEntry } from "./audit.ts";
import { insertEnrollToken, readEnrollTokens, revokeEnrollToken } from "./enroll_tokens.ts";
import { listRevoked, ofOthers } from "./revocation_rows.ts";
import type { HeldTimes } from "./held_times.ts";
import type { Store } from "./store.ts";
import type { Tables } from "./tables.ts";
import { insertUserToken, readUserTokens, revokeUserTokens, toRule } from "./user_tokens.ts";
import {
  ensureAdmin,
  insertRule,
  insertUser,
  keepingAdmin,
  lockAccount,
  readRules,
  readUser,
  readUsers,
  removeRule,
  removeUser,
} from "./users.ts";

type Tx = Transaction<Tables>;

export type AccessStore = Pick<
  Store,
  | "users"
  | "user"
  | "addUser"
  | "removeUser"
  | "ensureAdmin"
  | "rights"
  | "rules"
  | "addRule"
  | "removeRule"
  | "addUserToken"
  | "userTokens"
  | "userToken"
  | "revokeUserToken"
  | "addEnrollToken"
  | "enrollTokens"
  | "revokeEnrollToken"
>;

export type Append = (tx: Tx, entry: AuditEntry) => Promise<void>;

export interface AccessMethodsDeps {
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  append: Append;
  /** What takes something away: also where the audit takes no record. */
  evenUnrecorded<T>(work: (tx: Tx, append: Append) => Promise<T>): Promise<T>;
  /** When tokens were used. */
  readonly used: HeldTimes;
}

export function accessMethods(
  { transaction, append, evenUnrecorded, used }: AccessMethodsDeps,
): AccessStore {
  return {
    users: (accountId, now) => transaction((tx) => readUsers(tx, accountId, now)),

    user: (accountId, idOrName) =>
      transaction(async (tx) =>
        await readUser(tx, accountId, { id: idOrName }) ??
          await readUser(tx, accountId, { name: idOrName })
      ),

    addUser: (wanted, audit) =>
      transaction(async (tx) => {
        await lockAccount(tx, wanted.accountId);
        const user = await insertUser(tx, wanted);
        await append(tx, { ...audit, accountId: user.accountId, subject: user.id });
        return user;
      }),

    removeUser: (accountId, userId, change, audit) =>
      evenUnrecorded((tx, append) =>
        keepingAdmin(tx, { accountId, ...change }, async () => {
          const tokens = await removeUser(tx, accountId, userId, change);
          if (!tokens) return false;
          const fallen = await ofOthers(tx, accountId, userId, tokens);
          const ended = [
            { kind: "user", id: userId } as const,
            ...fallen.map((id) => ({ kind: "token", id }) as const),
          ];
          await listRevoked(tx, accountId, ended, {
            by: audit.actor,
            reason: "the user was removed",
            now: change.now,
          });
          await append(tx, { ...audit, accountId, detail: { ...audit.detail, ...listed(tokens) } });
          return true;
        })
      ),

    rights: ({ accountId, id }) =>
      transaction(async (tx) => ({
        rules: (await readRules(tx, accountId, id))
          .map((rule) => toRule(rule.id, rule.name, rule.grant))
          .filter((rule) => rule !== undefined),
        scopes: "all",
      })),

    rules: (accountId, userId) => transaction((tx) => readRules(tx, accountId, userId)),

    addRule: (wanted, audit) =>
      transaction(async (tx) => {
        await lockAccount(tx, wanted.user.accountId);
        const rule = await insertRule(tx, wanted);
        await append(tx, { ...audit, accountId: wanted.user.accountId, subject: rule.id });
        return rule;
      }),

    removeRule: (accountId, ruleId, change, audit) =>
      evenUnrecorded((tx, append) =>
        keepingAdmin(tx, { accountId, ...change }, async () => {
          const removed = await removeRule(tx, accountId, ruleId);
          if (removed) await append(tx, { ...audit, accountId });
          return removed;
        })
      ),

    ensureAdmin: (user, now, audit) =>
      transaction(async (tx) => {
        await lockAccount(tx, user.accountId);
        const given = await ensureAdmin(tx, user, now);
        if (given) await append(tx, { ...audit, accountId: user.accountId });
        return given;
      }),

    userTokens: (accountId, userId, now) =>
      transaction((tx) => readUserTokens(tx, accountId, { userId }, now, used)),

    userToken: (accountId, id, now) =>
      transaction(async (tx) => (await readUserTokens(tx, accountId, { id }, now, used))[0]),

    revokeUserToken: (accountId, tokenId, change, audit) =>
      evenUnrecorded((tx, append) =>
        keepingAdmin(tx, { accountId, ...change }, async () => {
          const tokens = await revokeUserTokens(tx, accountId, [tokenId], change);
          if (tokens.length === 0) return false;
          const ended = tokens.map((id) => ({ kind: "token", id }) as const);
          await listRevoked(tx, accountId, ended, {
            by: audit.actor,
            reason: "",
            now: change.now,
          });
          await append(tx, { ...audit, accountId, detail: { ...audit.detail, ...listed(tokens) } });
          return true;
        })
      ),

    enrollTokens: (accountId, now) => transaction((tx) => readEnrollTokens(tx, accountId, now)),

    revokeEnrollToken: (accountId, tokenId, now, audit) =>
      evenUnrecorded(async (tx, append) => {
        const revoked = await revokeEnrollToken(tx, accountId, tokenId, now);
        if (revoked) await append(tx, { ...audit, accountId });
        return revoked;
      }),

    addUserToken: (user, token, audit) =>
      transaction(async (tx) => {
        const id = await insertUserToken(tx, user, token);
        await append(tx, { ...audit, accountId: user.accountId, subject: id });
        return id;
      }),

    addEnrollToken: (token, audit) =>
      transaction(async (tx) => {
        const id = await insertEnrollToken(tx, token);
        await append(tx, { ...audit, accountId: token.accountId, subject: id });
        return id;
      }),
  };
}

/** For the audit: which tokens ended, as far as there is room. */
const listed = (tokens: readonly string[]) => ({
  tokens: tokens.length,
  token_ids: tokens.slice(0, 100).join(","),
});
