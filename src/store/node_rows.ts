/** Nodes and their tags between rows and the domain's types. */
import type { Transaction } from "kysely";
import type { HeldTimes } from "./held_times.ts";
import type { EnrolledNode, HostCertRecord, Node } from "./store.ts";
import type { Tables } from "./tables.ts";

/** Of the account, all or those with a tag or an id, with their tags. */
export async function readNodes(
  tx: Transaction<Tables>,
  accountId: string,
  filter: { readonly tag?: string; readonly id?: string },
  seen: HeldTimes,
): Promise<Node[]> {
  let query = tx.selectFrom("nodes")
    .select(["id", "name", "addr", "os", "arch", "created_at", "last_seen_at"])
    .where("account_id", "=", accountId).where("deleted_at", "is", null);
  let tagQuery = tx.selectFrom("node_tags").select(["node_id", "tag"])
    .where("account_id", "=", accountId);
  const { id, tag } = filter;
  if (id !== undefined) {
    query = query.where("id", "=", id);
    tagQuery = tagQuery.where("node_id", "=", id);
  }
  if (tag !== undefined) {
    query = query.where("id", "in", (eb) =>
      eb.selectFrom("node_tags").select("node_id")
        .where("account_id", "=", accountId).where("tag", "=", tag));
  }
  const rows = await query.orderBy("name").orderBy("id").execute();
  const tags = Map.groupBy(
    await tagQuery.orderBy("position").execute(),
    (row) => row.node_id,
  );
  return rows.map((row) => ({
    accountId,
    id: row.id,
    name: row.name,
    addr: row.addr,
    os: row.os,
    arch: row.arch,
    tags: tags.get(row.id)?.map((tagRow) => tagRow.tag) ?? [],
    createdAt: row.created_at,
    lastSeenAt: seen.latest(row.id, row.last_seen_at),
  }));
}

export async function insertTags(
  tx: Transaction<Tables>,
  accountId: string,
  nodeId: string,
  tags: readonly string[],
): Promise<void> {
  if (tags.length === 0) return;
  await tx.insertInto("node_tags").values(
    tags.map((tag, position) => ({ account_id: accountId, node_id: nodeId, tag, position })),
  ).execute();
}

export async function removeTags(
  tx: Transaction<Tables>,
  accountId: string,
  nodeId: string,
): Promise<void> {
  await tx.deleteFrom("node_tags").where("account_id", "=", accountId)
    .where("node_id", "=", nodeId).execute();
}

export function enrolledNode(row: NodeRow): EnrolledNode {
  return {
    accountId: row.account_id,
    id: row.id,
    name: row.name,
    addr: row.addr,
    hostKey: row.host_key,
    version: row.version ?? undefined,
    bootId: row.boot_id ?? undefined,
    hostCert: hostCert(row),
    caAcknowledged: row.ca_acknowledged ?? undefined,
    certHeld: row.cert_held ?? undefined,
    storedSeenAt: row.last_seen_at,
    deletedAt: row.deleted_at ?? undefined,
  };
}

type NodeRow =
  & Pick<
    Tables["nodes"],
    "account_id" | "id" | "name" | "addr" | "host_key" | "version" | "boot_id"
  >
  & Pick<Tables["nodes"], "cert_serial" | "cert_valid_after" | "cert_valid_before" | "deleted_at">
  & Pick<Tables["nodes"], "ca_acknowledged" | "cert_authority" | "cert_held">
  & { readonly last_seen_at: number };

function hostCert(row: NodeRow): HostCertRecord | undefined {
  const { cert_serial: serial, cert_valid_after: validAfter, cert_valid_before: validBefore } = row;
  if (serial === null || validAfter === null || validBefore === null) return undefined;
  const authority = row.cert_authority;
  return {
    serial: BigInt(serial),
    validAfter,
    validBefore,
    ...(authority !== null && { authority }),
  };
}
