import { decide } from "../../access/decide.ts";
import {
  ENROLL_TTL_SECONDS,
  EnrollToken,
  type EnrollTokenEntry,
  EnrollTokenList,
  EnrollTokenRequest,
} from "../../api/enroll.ts";
import { formatEnrollToken } from "../../ca/enroll_proof.ts";
import { OpenboxError } from "../../errors.ts";
import { newEnrollSecret } from "../../ids.ts";
import { log } from "../../log.ts";
import { Secret } from "../../secret.ts";
import type { EnrollTokenRecord } from "../../store/store.ts";
import { requireAllowed } from "../allow.ts";
import { userRoute } from "../route.ts";

const PATH = "/v1/enroll-tokens";

/** A token that lets a machine, or so many of them, become a node with these tags. */
export const createEnrollToken = userRoute(
  {
    method: "POST",
    path: PATH,
    needs: "enroll",
    summary: "Make a token that lets one machine become a node",
    body: EnrollTokenRequest,
    answers: { 200: EnrollToken },
  },
  async (call, user, { store, ca, clock, publicUrl }) => {
    const { name, tags, ttl_seconds, reusable: uses, ephemeral_seconds } = call.body;
    requireAllowed(user, { verb: "enroll", tags });
    const { min, max, maxReusable } = ENROLL_TTL_SECONDS;
    const ttlSeconds = Math.min(uses > 1 ? maxReusable : max, Math.max(min, ttl_seconds));
    const secret = new Secret(newEnrollSecret()), { fingerprint } = await ca.now();
    const createdAt = clock.now(), expiresAt = createdAt + ttlSeconds * 1000;
    const id = await store.addEnrollToken(
      {
        accountId: user.accountId,
        createdBy: user.id,
        madeWith: user.tokenId,
        name,
        secret,
        tags,
        uses,
        ephemeralMs: ephemeral_seconds === undefined ? undefined : ephemeral_seconds * 1000,
        createdAt,
        expiresAt,
      },
      call.audit("enroll_token.create", {
        detail: {
          tags: tags.join(","),
          expires_at: expiresAt,
          uses,
          ephemeral_seconds: ephemeral_seconds ?? null,
        },
      }),
    );
    log("control").info("enrollment token made", { by: user.id, tags, ttlSeconds, uses });
    const body: EnrollToken = {
      token: formatEnrollToken({ secret, fingerprint }).reveal(),
      server: publicUrl ?? call.origin,
      expires_at: Math.floor(expiresAt / 1000),
      ca_fingerprint: fingerprint,
      id,
    };
    return { status: 200, body };
  },
);

/** Those that can still make a node; with limits, those that the caller could have made. */
export const listEnrollTokens = userRoute(
  {
    method: "GET",
    path: PATH,
    needs: "enroll",
    summary: "The enrollment tokens that can still make a node",
    answers: { 200: EnrollTokenList },
  },
  async (_call, user, { store, clock }) => {
    const tokens = (await store.enrollTokens(user.accountId, clock.now()))
      .filter(({ tags }) => decide(user, { verb: "enroll", tags }).allowed);
    return { status: 200, body: { enroll_tokens: tokens.map(toApi) } };
  },
);

export const deleteEnrollToken = userRoute(
  {
    method: "DELETE",
    path: `${PATH}/:id`,
    needs: "enroll",
    summary: "Revoke an enrollment token",
    answers: { 204: null },
    refuses: ["not_found"],
  },
  async (call, user, { store, clock }) => {
    const id = call.param("id"), now = clock.now();
    const token = (await store.enrollTokens(user.accountId, now)).find((one) => one.id === id);
    if (token) requireAllowed(user, { verb: "enroll", tags: token.tags });
    const audit = call.audit("enroll_token.revoke", { subject: id });
    if (!token || !await store.revokeEnrollToken(user.accountId, id, now, audit)) {
      throw new OpenboxError("not_found", `no enrollment token has the id ${JSON.stringify(id)}`, {
        hint: "openbox node tokens",
      });
    }
    log("control").info("enrollment token revoked", { token: id, by: user.id });
    return { status: 204 };
  },
);

const toApi = (token: EnrollTokenRecord): EnrollTokenEntry => ({
  id: token.id,
  name: token.name ?? null,
  tags: [...token.tags],
  created_by: token.createdBy,
  created_at: Math.floor(token.createdAt / 1000),
  expires_at: Math.floor(token.expiresAt / 1000),
  uses: token.uses,
  uses_left: token.usesLeft,
  ephemeral_seconds: token.ephemeralMs === undefined ? null : token.ephemeralMs / 1000,
});
