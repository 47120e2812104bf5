/** The session directory: which session belongs to which node, and what the nodes say of them. */
import { sql, type Transaction } from "kysely";
import { OpenboxError } from "../errors.ts";
import { forRows } from "./for_rows.ts";
import type { HeldTimes } from "./held_times.ts";
import type { Binding, EnrolledNode, Session, SessionRef, SessionReport, User } from "./store.ts";
import type { Tables } from "./tables.ts";

type Tx = Transaction<Tables>;

/** What `lastUsedAt` is held under. */
export const sessionRefId = ({ userId, name }: SessionRef): string => `${userId} ${name}`;

export async function readBinding(
  tx: Tx,
  { accountId, id: userId }: User,
  name: string,
  seen: HeldTimes,
): Promise<Binding | undefined> {
  const row = await tx.selectFrom("sessions").innerJoin("nodes", "nodes.id", "sessions.node_id")
    .select([
      "nodes.id",
      "nodes.name",
      "nodes.addr",
      "nodes.host_key as hostKey",
      "nodes.last_seen_at as lastSeenAt",
      "nodes.ca_acknowledged as caAcknowledged",
      "nodes.cert_held as certHeld",
      "sessions.isolation",
    ])
    .where("sessions.account_id", "=", accountId).where("user_id", "=", userId)
    .where("sessions.name", "=", name).executeTakeFirst();
  if (!row) return undefined;
  const { isolation, ...node } = row;
  return {
    isolation,
    node: {
      ...node,
      lastSeenAt: seen.latest(node.id, node.lastSeenAt),
      caAcknowledged: node.caAcknowledged ?? undefined,
      certHeld: node.certHeld ?? undefined,
    },
  };
}

/** True where the binding was made now. Whatever there was stays, so that of two callers both get one node. */
export async function insertBinding(
  tx: Tx,
  user: User,
  name: string,
  { nodeId, isolation }: { readonly nodeId: string; readonly isolation: string },
  now: number,
): Promise<boolean> {
  const { accountId, id: userId } = user;
  const key = { account_id: accountId, user_id: userId, name };
  const inserted = await tx.insertInto("sessions").values({
    ...key,
    node_id: nodeId,
    isolation,
    created_at: now,
    last_used_at: now,
    last_exit: null,
    state: "new",
  }).onConflict((conflict) => conflict.doNothing()).executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows !== 1n) return false;
  await requireRoom(tx, user);
  const node = await tx.selectFrom("nodes").select("id").where("account_id", "=", accountId)
    .where("id", "=", nodeId).where("deleted_at", "is", null).executeTakeFirst();
  if (!node) throw new OpenboxError("node_not_found", "The node was removed just now");
  const ending = await tx.selectFrom("session_ends").select("name")
    .where("account_id", "=", accountId).where("node_id", "=", nodeId)
    .where("user_id", "=", userId).where("name", "=", name).executeTakeFirst();
  if (!ending) return true;
  throw new OpenboxError("conflict", `The session ${name} is being ended on its node`, {
    hint: "the node hears of it within half a minute; then the name is free",
  });
}

/** Of one user; those that have ended make room first. */
const MOST_BINDINGS = 1000;

async function requireRoom(tx: Tx, { accountId, id: userId }: User): Promise<void> {
  const count = async () => {
    const { rows } = await tx.selectFrom("sessions").select(({ fn }) => fn.countAll().as("rows"))
      .where("account_id", "=", accountId).where("user_id", "=", userId).executeTakeFirstOrThrow();
    return Number(rows);
  };
  if (await count() <= MOST_BINDINGS) return;
  await tx.deleteFrom("sessions").where("account_id", "=", accountId)
    .where("user_id", "=", userId).where("state", "=", "ended").execute();
  if (await count() <= MOST_BINDINGS) return;
  throw new OpenboxError("quota", `You have ${MOST_BINDINGS} sessions already`, {
    hint: "openbox sessions lists them, openbox session end NAME ends one",
  });
}

/** Most recent first. */
export async function readSessions(
  tx: Tx,
  { accountId, id: userId }: User,
  times: { readonly seen: HeldTimes; readonly used: HeldTimes },
): Promise<Session[]> {
  const rows = await tx.selectFrom("sessions").innerJoin("nodes", "nodes.id", "sessions.node_id")
    .select([
      "sessions.name",
      "sessions.isolation",
      "sessions.created_at as createdAt",
      "last_used_at as lastUsedAt",
      "last_exit as lastExit",
      "state",
      "nodes.id as nodeId",
      "nodes.name as nodeName",
      "nodes.last_seen_at as nodeSeenAt",
    ])
    .where("sessions.account_id", "=", accountId).where("user_id", "=", userId)
    .orderBy("sessions.name").execute();
  return rows.map((row): Session => ({
    ...row,
    userId,
    lastExit: row.lastExit ?? undefined,
    lastUsedAt: times.used.latest(sessionRefId({ userId, name: row.name }), row.lastUsedAt),
    nodeSeenAt: times.seen.latest(row.nodeId, row.nodeSeenAt),
  })).sort((a, b) => b.lastUsedAt - a.lastUsedAt);
}

/** False where there is none. `ended`: the caller has ended the shell; else its node is to be told. */
export async function removeBinding(
  tx: Tx,
  { accountId, id: userId }: User,
  name: string,
  { ended, now }: { readonly ended: boolean; readonly now: number },
): Promise<boolean> {
  const row = await tx.deleteFrom("sessions").where("account_id", "=", accountId)
    .where("user_id", "=", userId).where("name", "=", name)
    .returning("node_id as nodeId").executeTakeFirst();
  if (!row) return false;
  if (ended) return true;
  await tx.insertInto("session_ends").values({
    account_id: accountId,
    node_id: row.nodeId,
    user_id: userId,
    name,
    requested_at: now,
  }).onConflict((conflict) => conflict.doNothing()).execute();
  return true;
}

export async function removeBindingsOf(tx: Tx, accountId: string, nodeId: string): Promise<void> {
  await tx.deleteFrom("sessions").where("account_id", "=", accountId)
    .where("node_id", "=", nodeId).execute();
  await tx.deleteFrom("session_ends").where("account_id", "=", accountId)
    .where("node_id", "=", nodeId).execute();
}

/** For how long one that has ended is listed. */
const ENDED_MS = 24 * 3600_000;
/** Below this a time has not changed: what is idle is reported with each beat. */
const SAME_MS = 5_000;

/** Of what a node said: what it has and nobody is bound to, and what it has no more. */
export interface Reported {
  readonly orphans: SessionRef[];
  readonly gone: (SessionRef & { readonly state: "lost" | "ended" })[];
}

/** Writes what is new. */
export async function recordReports(
  tx: Tx,
  { accountId, id: nodeId }: EnrolledNode,
  reports: readonly SessionReport[],
  now: number,
): Promise<Reported> {
  const told = new Map(reports.map((report) => [sessionRefId(report), report]));
  const bound = await tx.selectFrom("sessions")
    .select(["user_id", "name", "state", "last_exit", "last_used_at"])
    .where("account_id", "=", accountId).where("node_id", "=", nodeId).execute();
  const orphans = new Map(told);
  const changed: ChangedSession[] = [], over: SessionKey[] = [];
  for (const row of bound) {
    const id = sessionRefId({ userId: row.user_id, name: row.name }), report = told.get(id);
    orphans.delete(id);
    if (!report && row.state === "new") continue; // its first command is on its way
    const usedAt = report && report.state !== "lost" ? now - report.idleMs : row.last_used_at;
    const change = {
      state: report?.state ?? "ended",
      last_exit: report && report.state !== "lost" ? report.lastExit ?? null : row.last_exit,
      last_used_at: usedAt > row.last_used_at + SAME_MS ? usedAt : row.last_used_at,
    };
    const same = change.state === row.state && change.last_exit === row.last_exit &&
      change.last_used_at === row.last_used_at;
    const key = { user_id: row.user_id, name: row.name };
    if (same && row.state === "ended" && row.last_used_at < now - ENDED_MS) over.push(key);
    if (same) continue;
    changed.push({ ...key, ...change, was: row.state });
  }
  const written = await writeChanged(tx, accountId, changed);
  const gone = written.flatMap(({ userId, name, state, was }) =>
    state !== was && (state === "lost" || state === "ended")
      ? [{ userId, name, state } as const]
      : []
  );
  await forRows(
    tx,
    KEY,
    over,
    ({ value, rows }) =>
      sql`delete from sessions ${rows("using")} where sessions.account_id = ${accountId}
      and sessions.user_id = ${value("user_id")} and sessions.name = ${value("name")}`,
  );
  const ends = await tx.selectFrom("session_ends").select(["user_id", "name"])
    .where("account_id", "=", accountId).where("node_id", "=", nodeId).execute();
  // those that the node still has are told again, until they are gone
  const ended = ends.filter(({ user_id, name }) =>
    !orphans.has(sessionRefId({ userId: user_id, name }))
  );
  await forRows(
    tx,
    KEY,
    ended,
    ({ value, rows }) =>
      sql`delete from session_ends ${rows("using")} where session_ends.account_id = ${accountId}
      and session_ends.node_id = ${nodeId} and session_ends.user_id = ${value("user_id")}
      and session_ends.name = ${value("name")}`,
  );
  return { orphans: [...orphans.values()].map(({ userId, name }) => ({ userId, name })), gone };
}

const KEY = { user_id: "text", name: "text" } as const;
type SessionKey = Pick<Tables["sessions"], keyof typeof KEY>;
interface ChangedSession extends
  Pick<
    Tables["sessions"],
    keyof typeof KEY | "state" | "last_exit" | "last_used_at"
  > {
  /** The state that was read. */
  readonly was: string;
}

/** Those that had still the state that was read: of two beats at once one changes it. */
async function writeChanged(tx: Tx, accountId: string, changed: readonly ChangedSession[]) {
  const before = new Map(
    changed.map(({ user_id, name, was }) => [sessionRefId({ userId: user_id, name }), was]),
  );
  const written = await forRows(
    tx,
    { ...KEY, state: "text", last_exit: "bigint", last_used_at: "bigint", was: "text" },
    changed,
    ({ value, rows }) =>
      // a call through another control plane may have used it since
      sql<SessionRef & { readonly state: string }>`update sessions set state = ${
        value("state")
      }, last_exit = ${value("last_exit")},
        last_used_at = case when sessions.last_used_at < ${value("last_used_at")}
          then ${value("last_used_at")} else sessions.last_used_at end
        ${rows("from")} where sessions.account_id = ${accountId}
        and sessions.user_id = ${value("user_id")} and sessions.name = ${value("name")}
        and sessions.state = ${value("was")}
        returning sessions.user_id as "userId", sessions.name as name, sessions.state as state`,
  );
  return written.map((row) => ({ ...row, was: before.get(sessionRefId(row)) }));
}
