import { decide } from "../../access/decide.ts";
import { formatGrant, parseGrant } from "../../access/grant.ts";
import {
  CreatedToken,
  NewToken,
  type Token as ApiToken,
  TOKEN_TTL_SECONDS,
  TokenList,
} from "../../api/tokens.ts";
import { OpenboxError } from "../../errors.ts";
import { newUserToken } from "../../ids.ts";
import { log } from "../../log.ts";
import { Secret } from "../../secret.ts";
import type { TokenRecord, TokenUser } from "../../store/store.ts";
import { requireAllowed } from "../allow.ts";
import { TooMany } from "../rate_limit.ts";
import { userRoute } from "../route.ts";
import { meantUser } from "./users.ts";

/** One's own; an administrator's also those of the user in `?user=`, or with `?all=true` all. */
export const listTokens = userRoute(
  {
    method: "GET",
    path: "/v1/tokens",
    needs: "self",
    summary: "The caller's tokens; an administrator's also those of others",
    query: {
      user: "those of this user: an id or a name",
      all: "`true`: those of all users",
    },
    answers: { 200: TokenList },
    refuses: ["not_found"],
  },
  async (call, user, { store, clock }) => {
    const wanted = call.query("user"), all = call.query("all") === "true";
    if (all) requireAllowed(user, { verb: "admin" });
    const of = await meantUser(user, wanted, store);
    const tokens = await store.userTokens(user.accountId, all ? undefined : of.id, clock.now());
    return { status: 200, body: { tokens: tokens.map((token) => toApi(token, user)) } };
  },
);

/**
 * A token makes none that is more than itself: one with scopes makes none at all, any other one of its own
 * user that ends no later. With one that may administer the account it is any user's, for a year at most.
 */
export const createToken = userRoute(
  {
    method: "POST",
    path: "/v1/tokens",
    needs: "self",
    summary: "Make a token; the answer alone has it",
    body: NewToken,
    answers: { 201: CreatedToken },
    refuses: ["not_found", "grant_invalid", "conflict", "quota"],
  },
  async (call, user, { store, clock, newTokens }) => {
    const { name = "token", scopes: texts, ttl_seconds } = call.body;
    const admin = decide(user, { verb: "admin" }).allowed;
    if (!admin && user.scopes !== "all") throw scopedMaker();
    const wait = admin ? 0 : newTokens.take(user.id);
    if (wait > 0) throw new TooMany("Too many tokens at once by this user", wait);
    const owner = await meantUser(user, call.body.user, store);
    const scopes = texts?.map(parseGrant) ?? "all" as const;
    const token = new Secret(newUserToken()), createdAt = clock.now();
    const expiresAt = endOf(ttl_seconds, createdAt, admin ? undefined : user.tokenExpiresAt);
    const id = await store.addUserToken(
      owner,
      { token, name, scopes, madeWith: user.tokenId, createdAt, expiresAt },
      call.audit("token.create", {
        detail: {
          user: owner.id,
          name,
          scopes: scopes === "all" ? null : scopes.map(formatGrant).join(" "),
          expires_at: expiresAt,
        },
      }),
    );
    log("control").info("user token made", { token: id, user: owner.id, by: user.id });
    const body: CreatedToken = {
      token: token.reveal(),
      id,
      name,
      user_id: owner.id,
      user_name: owner.name,
      scopes: scopes === "all" ? null : scopes.map(formatGrant),
      created_at: Math.floor(createdAt / 1000),
      expires_at: Math.floor(expiresAt / 1000),
    };
    return { status: 201, body };
  },
);

/** One's own; with scopes only itself. An administrator's is any of the account. */
export const deleteToken = userRoute(
  {
    method: "DELETE",
    path: "/v1/tokens/:id",
    needs: "self",
    summary: "Revoke a token, and what was made with it",
    query: {
      force: "`true`: also where nobody is left who may administer the account",
      keep_made: "`true`: what was made with it stays",
    },
    answers: { 204: null },
    refuses: ["not_found", "conflict"],
  },
  async (call, user, { store, clock }) => {
    const id = call.param("id"), force = call.query("force") === "true", now = clock.now();
    const keepMade = call.query("keep_made") === "true";
    // with it a thief would keep what he made
    if (keepMade) requireAllowed(user, { verb: "admin" });
    const token = await store.userToken(user.accountId, id, now);
    const admin = decide(user, { verb: "admin" }).allowed;
    if (!token || (!admin && token.userId !== user.id)) throw noToken(id);
    if (!admin && user.scopes !== "all" && id !== user.tokenId) {
      throw new OpenboxError("scope", "A token with scopes revokes itself only", {
        hint: `a token of ${user.name} without scopes may: openbox token list`,
      });
    }
    const audit = call.audit("token.revoke", {
      subject: id,
      detail: { user: token.userId, name: token.name, force, keep: keepMade },
    });
    const change = { now, force, keepMade };
    const revoked = await store.revokeUserToken(user.accountId, id, change, audit);
    if (!revoked) throw noToken(id);
    log("control").info("user token revoked", { token: id, user: token.userId, by: user.id });
    return { status: 204 };
  },
);

/** `limit`: the end of the token that makes it. */
function endOf(
  ttlSeconds: number | undefined,
  now: number,
  limit: number | undefined,
): number {
  const end = now + (ttlSeconds ?? TOKEN_TTL_SECONDS.standard) * 1000;
  if (limit === undefined || end <= limit) return end;
  if (ttlSeconds === undefined) return limit;
  throw new OpenboxError("scope", "A token makes none that lives longer than itself", {
    hint: `it ends in ${Math.floor((limit - now) / 1000)} s; leave the time out, or say less`,
  });
}

const scopedMaker = () =>
  new OpenboxError("scope", "A token with scopes makes no tokens", {
    hint: "a token without scopes does: log in with one (openbox login)",
  });

const noToken = (id: string) =>
  new OpenboxError("not_found", `no token has the id ${JSON.stringify(id)}`, {
    hint: "openbox token list",
  });

const toApi = (token: TokenRecord, { tokenId }: TokenUser): ApiToken => ({
  id: token.id,
  name: token.name,
  user_id: token.userId,
  user_name: token.userName,
  scopes: token.scopes === undefined ? null : [...token.scopes],
  created_at: Math.floor(token.createdAt / 1000),
  expires_at: Math.floor(token.expiresAt / 1000),
  last_used: token.lastUsedAt === undefined ? null : Math.floor(token.lastUsedAt / 1000),
  made_with: token.madeWith ?? null,
  current: token.id === tokenId,
});
