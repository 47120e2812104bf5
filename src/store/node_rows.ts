/** Nodes and their tags between rows and the domain's types. */
import type { Transaction } from "kysely";
import { removeBindingsOf } from "./session_rows.ts";
import { lock } from "./lock.ts";
import type { HeldTimes } from "./held_times.ts";
import type { EnrolledNode, HeldList, HostCertRecord, Node } from "./store.ts";
import type { Tables } from "./tables.ts";

/** Of the account, all or those with a tag or an id, with their tags. */
export async function readNodes(
  tx: Transaction<Tables>,
  accountId: string,
  filter: { readonly tag?: string; readonly id?: string },
  { seen, lists }: HeldOfNodes,
): Promise<Node[]> {
  let query = tx.selectFrom("nodes")
    .select([
      "id",
      "name",
      "addr",
      "os",
      "arch",
      "created_at",
      "last_seen_at",
      "ephemeral_ms",
      "cloned_at",
      "revocations_version",
      "revocations_signed_at",
    ])
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
    revocations: heldList(lists, row),
    ...(row.ephemeral_ms !== null && { ephemeralMs: row.ephemeral_ms }),
    ...(row.cloned_at !== null && { clonedAt: row.cloned_at }),
  }));
}

/** What heartbeats say, not yet written. */
export interface HeldOfNodes {
  readonly seen: HeldTimes;
  /** The revocation lists that nodes hold: their versions, and when they were signed. */
  readonly lists: { readonly versions: HeldTimes; readonly signed: HeldTimes };
}

function heldList(
  { versions, signed }: HeldOfNodes["lists"],
  row: Pick<NodeRow, "id" | "revocations_version" | "revocations_signed_at">,
): HeldList | undefined {
  const signedAt = signed.latest(row.id, row.revocations_signed_at ?? 0);
  if (signedAt === 0) return undefined; // a version of 0 is one
  return { version: versions.latest(row.id, row.revocations_version ?? 0), signedAt };
}

/** To be written with the next flush, where it is news. */
export function holdList(lists: HeldOfNodes["lists"], node: EnrolledNode, list: HeldList): void {
  const { version, signedAt } = list, known = node.heldRevocations;
  if (lists.versions.latest(node.id, known?.version ?? 0) < version) {
    lists.versions.mark(node.id, version);
  }
  if (lists.signed.latest(node.id, known?.signedAt ?? 0) < signedAt) {
    lists.signed.mark(node.id, signedAt);
  }
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

/**
 * Its sessions are bound no more. False where there is no such node, or where it was heard later than
 * `lastSeenAt`.
 */
export async function removeNode(
  tx: Transaction<Tables>,
  accountId: string,
  id: string,
  now: number,
  { lastSeenAt }: { readonly lastSeenAt?: number } = {},
): Promise<boolean> {
  await lock(tx, id); // nobody binds a session to it meanwhile
  let query = tx.updateTable("nodes").set({ deleted_at: now })
    .where("account_id", "=", accountId).where("id", "=", id).where("deleted_at", "is", null);
  if (lastSeenAt !== undefined) query = query.where("last_seen_at", "=", lastSeenAt);
  const deleted = await query.executeTakeFirst();
  if (deleted.numUpdatedRows === 0n) return false;
  await removeTags(tx, accountId, id);
  await removeBindingsOf(tx, accountId, id);
  return true;
}

/** A beat may be under way this long while the agent that sent it is started again. */
const UNDER_WAY_MS = 20_000;

/**
 * What a beat of the start `bootId` changes. An agent that is started again leaves its last start behind;
 * one that comes back after a later start was never gone, so that the later one is a copy of it.
 */
export function bootChange(
  { bootId: newest, bootBefore, bootAt }: EnrolledNode,
  bootId: string | undefined,
  now: number,
) {
  if (bootId === undefined || bootId === newest) return {};
  const started = { boot_id: bootId, boot_before: newest ?? null, boot_at: now };
  if (bootId !== bootBefore) return started;
  return now - bootAt < UNDER_WAY_MS
    ? {}
    : { ...started, boot_refused: newest ?? null, cloned_at: now };
}

export function enrolledNode(row: NodeRow & { listVersion: number | null }): EnrolledNode {
  return {
    accountId: row.account_id,
    id: row.id,
    name: row.name,
    addr: row.addr,
    hostKey: row.host_key,
    version: row.version ?? undefined,
    bootId: row.boot_id ?? undefined,
    bootBefore: row.boot_before ?? undefined,
    bootAt: row.boot_at ?? 0,
    bootRefused: row.boot_refused ?? undefined,
    clonedAt: row.cloned_at ?? undefined,
    hostCert: hostCert(row),
    caAcknowledged: row.ca_acknowledged ?? undefined,
    certHeld: row.cert_held ?? undefined,
    revocationsVersion: row.listVersion ?? 0,
    heldRevocations: row.revocations_version === null || row.revocations_signed_at === null
      ? undefined
      : { version: row.revocations_version, signedAt: row.revocations_signed_at },
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
  & Pick<Tables["nodes"], "revocations_version" | "revocations_signed_at">
  & Pick<Tables["nodes"], "boot_before" | "boot_at" | "boot_refused" | "cloned_at">
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
