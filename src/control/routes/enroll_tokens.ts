import { ENROLL_TTL_SECONDS, type EnrollToken, EnrollTokenRequest } from "../../api/enroll.ts";
import { formatEnrollToken } from "../../ca/enroll_proof.ts";
import { newEnrollSecret } from "../../ids.ts";
import { log } from "../../log.ts";
import { Secret } from "../../secret.ts";
import { userRoute } from "../route.ts";

/** A token that lets one machine become a node, with these tags. */
export const createEnrollToken = userRoute(
  { method: "POST", path: "/v1/enroll-tokens", body: EnrollTokenRequest },
  async (call, user, { store, ca, clock, publicUrl }) => {
    const { tags, ttl_seconds } = call.body;
    const { min, max } = ENROLL_TTL_SECONDS;
    const ttlSeconds = Math.min(max, Math.max(min, ttl_seconds));
    const secret = new Secret(newEnrollSecret()), { fingerprint } = await ca.now();
    const createdAt = clock.now(), expiresAt = createdAt + ttlSeconds * 1000;
    await store.addEnrollToken(
      {
        accountId: user.accountId,
        createdBy: user.id,
        secret,
        tags,
        createdAt,
        expiresAt,
      },
      call.audit("enroll_token.create", {
        detail: { tags: tags.join(","), expires_at: expiresAt },
      }),
    );
    log("control").info("enrollment token made", { by: user.id, tags, ttlSeconds });
    const body: EnrollToken = {
      token: formatEnrollToken({ secret, fingerprint }).reveal(),
      server: publicUrl ?? call.origin,
      expires_at: Math.floor(expiresAt / 1000),
      ca_fingerprint: fingerprint,
    };
    return { status: 200, body };
  },
);
