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
  // the condition and the change are one statement: of two callers one finds the token unused
  const grant = await tx.updateTable("enroll_tokens").set({ used_at: now, used_by: id })
    .where("hash", "=", hash).where("used_at", "is", null).where("expires_at", ">", now)
    .returning(["account_id as accountId", "tags"]).executeTakeFirst();
  // asked for every refusal alike, so that an expired token takes as long as an unknown one
  if (!grant) throw await whyNotGranted(tx, hash);
  const { accountId } = grant, tags: readonly string[] = JSON.parse(grant.tags);
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
  }).execute();
  await insertTags(tx, accountId, id, tags);
  const unheard = { lastSeenAt: 0, revocations: undefined };
  return { accountId, id, name, addr, os, arch, tags, createdAt: now, ...unheard };
}

async function whyNotGranted(tx: Transaction<Tables>, hash: Uint8Array): Promise<OpenboxError> {
  const token = await tx.selectFrom("enroll_tokens").select("used_at").where("hash", "=", hash)
    .executeTakeFirst();
  return token && token.used_at !== null ? tokenUsed() : tokenInvalid();
}

const ANOTHER_TOKEN = "openbox node token makes another";

/** The one answer to a token that is unknown, over, or no token at all. */
const tokenInvalid = () =>
  new OpenboxError("enroll_token_invalid", "The enrollment token is unknown or has expired", {
    hint: ANOTHER_TOKEN,
  });

const tokenUsed = () =>
  new OpenboxError(
    "enroll_token_used",
    "The enrollment token was used already: it enrolls one node",
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
