/** Nodes that are removed when nothing is heard of them: machines that come and go. */
import type { Kysely } from "kysely";
import type { HeldTimes } from "./held_times.ts";
import type { Tables } from "./tables.ts";

export interface SilentNode {
  readonly accountId: string;
  readonly id: string;
  readonly name: string;
  /** As it is written. */
  readonly lastSeenAt: number;
}

/** What another control plane heard may not be written yet. */
const UNWRITTEN_MS = 15_000;
/** Of one round; the next takes the rest. */
const MOST = 500;

/** Those that said nothing for as long as they may; `listeningSince`: what was before could not be heard. */
export async function silentNodes(
  db: Kysely<Tables>,
  { now, listeningSince }: { readonly now: number; readonly listeningSince: number },
  seen: HeldTimes,
): Promise<SilentNode[]> {
  const rows = await db.selectFrom("nodes")
    .select(["account_id", "id", "name", "last_seen_at", "created_at", "ephemeral_ms"])
    .where("ephemeral_ms", "is not", null).where("deleted_at", "is", null)
    .where(({ eb, ref }) =>
      eb(eb("last_seen_at", "+", ref("ephemeral_ms")), "<", now - UNWRITTEN_MS)
    )
    .orderBy("last_seen_at").limit(MOST).execute();
  return rows.filter((row) => {
    const heard = Math.max(seen.latest(row.id, row.last_seen_at), row.created_at, listeningSince);
    return now - heard > row.ephemeral_ms! + UNWRITTEN_MS;
  }).map((row) => ({
    accountId: row.account_id,
    id: row.id,
    name: row.name,
    lastSeenAt: row.last_seen_at,
  }));
}
