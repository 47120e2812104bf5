/** A node joins: the token is spent and the node made in one transaction, or neither. */
import type { Transaction } from "kysely";
import { OpenboxError } from "../errors.ts";
import { insertTags } from "./node_rows.ts";
import type { Node, Registration, User } from "./store.ts";
import type { Tables } from "./tables.ts";
import { tokenHash } from "./token_hash.ts";

export async function registerNode(
  tx: Transaction<Tables>,
  registration: Registration,
): Promise<Node> {
  const { nodeId: id, name, addr, os, arch, hostKey, now } = registration;
  const hash = tokenHash(registration.secret);
  // the condition and the change are one statement: of two callers with the last use one gets it
  const spent = await tx.updateTable("enroll_tokens")
    .set(({ eb }) => ({ uses_left: eb("uses_left", "-", 1), used_at: now, used_by: id }))
    .where("hash", "=", hash).where("uses_left", ">", 0).where("expires_at", ">", now)
    .where("revoked_at", "is", null)
    .returning(["account_id as accountId", "tags", "ephemeral_ms as ephemeralMs"])
    .executeTakeFirst();
  // asked for every refusal alike, so that an expired token takes as long as an unknown one
  if (!spent) throw await whyNotGranted(tx, hash);
  const { accountId } = spent, tags: readonly string[] = JSON.parse(spent.tags);
  const other = await tx.selectFrom("nodes").select(["account_id as accountId", "id", "name"])
    .where("host_key", "=", hostKey).where("deleted_at", "is", null).executeTakeFirst();
  if (other) throw hostKeyTaken(other, accountId);
  await tx.insertInto("nodes").values({
    id,
    account_id: accountId,
    name,
    addr,
    os,
    arch,
    host_key: hostKey,
    token_hash: tokenHash(registration.nodeToken),
    created_at: now,
    ephemeral_ms: spent.ephemeralMs,
  }).execute();
  await insertTags(tx, accountId, id, tags);
  const unheard = { lastSeenAt: 0, revocations: undefined };
  const node = { accountId, id, name, addr, os, arch, tags, createdAt: now, ...unheard };
  return spent.ephemeralMs === null ? node : { ...node, ephemeralMs: spent.ephemeralMs };
}

async function whyNotGranted(tx: Transaction<Tables>, hash: Uint8Array): Promise<OpenboxError> {
  const token = await tx.selectFrom("enroll_tokens").select(["uses", "uses_left", "revoked_at"])
    .where("hash", "=", hash).executeTakeFirst();
  return token?.uses_left === 0 && token.revoked_at === null
    ? tokenUsed(token.uses)
    : tokenInvalid();
}

const ANOTHER_TOKEN = "openbox node token makes another";

/** The one answer to a token that is unknown, over, or no token at all. */
const tokenInvalid = () =>
  new OpenboxError("enroll_token_invalid", "The enrollment token is unknown or has expired", {
    hint: ANOTHER_TOKEN,
  });

const tokenUsed = (uses: number) =>
  new OpenboxError(
    "enroll_token_used",
    `The enrollment token was used already: it enrolls ${
      uses === 1 ? "one node" : `${uses} nodes`
    }`,
    {
      hint: ANOTHER_TOKEN,
    },
  );

function hostKeyTaken(other: User, accountId: string): OpenboxError {
  if (other.accountId !== accountId) {
    return new OpenboxError("conflict", "This machine's host key is registered already");
  }
  return new OpenboxError(
    "conflict",
    `This machine's host key is registered already, as node "${other.name}" (${other.id})`,
    { hint: `openbox node rm ${other.id}, then enroll again` },
  );
}
