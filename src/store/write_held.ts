/**
 * Held times on their way into the database. None goes back: another control plane may have heard later
 * of the same node.
 */
import { sql, type Transaction } from "kysely";
import { forRows } from "./for_rows.ts";
import type { Held } from "./held_times.ts";
import { lock } from "./lock.ts";
import type { Tables } from "./tables.ts";

/** Where each kind is kept. The words of its id, parted by a blank, are the key. */
const KINDS = {
  nodeSeen: { table: "nodes", column: "last_seen_at", key: ["id"] },
  tokenUsed: { table: "user_tokens", column: "last_used_at", key: ["id"] },
  sessionUsed: { table: "sessions", column: "last_used_at", key: ["user_id", "name"] },
  listVersion: { table: "nodes", column: "revocations_version", key: ["id"] },
  listSigned: { table: "nodes", column: "revocations_signed_at", key: ["id"] },
} as const;

export type HeldKind = keyof typeof KINDS;

export async function writeHeld(
  tx: Transaction<Tables>,
  kind: HeldKind,
  times: readonly Held[],
): Promise<void> {
  // two processes that write the same rows in another order would wait for each other
  await lock(tx, "held times");
  const { table, column, key } = KINDS[kind];
  const columns = Object.fromEntries([["at", "bigint"], ...key.map((name) => [name, "text"])]);
  const rows = times.map(([id, at]) =>
    Object.fromEntries([["at", at], ...id.split(" ").map((word, i) => [key[i], word])])
  );
  const own = (name: string) => sql.ref(`${table}.${name}`);
  await forRows(
    tx,
    columns,
    rows,
    (given) =>
      sql`update ${sql.table(table)} set ${sql.ref(column)} = ${given.value("at")}
      ${given.rows("from")}
      where coalesce(${own(column)}, 0) < ${given.value("at")} and ${
        sql.join(key.map((name) => sql`${own(name)} = ${given.value(name)}`), sql` and `)
      }`,
  );
}
