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
const COLUMNS = {
  nodes: { time: "last_seen_at", key: ["id"] },
  user_tokens: { time: "last_used_at", key: ["id"] },
  sessions: { time: "last_used_at", key: ["user_id", "name"] },
} as const;

export type HeldColumn = keyof typeof COLUMNS;

export async function writeHeld(
  tx: Transaction<Tables>,
  table: HeldColumn,
  times: readonly Held[],
): Promise<void> {
  // two processes that write the same rows in another order would wait for each other
  await lock(tx, "held times");
  const { time, key } = COLUMNS[table];
  const columns = Object.fromEntries([["at", "bigint"], ...key.map((name) => [name, "text"])]);
  const rows = times.map(([id, at]) =>
    Object.fromEntries([["at", at], ...id.split(" ").map((word, i) => [key[i], word])])
  );
  const column = (name: string) => sql.ref(`${table}.${name}`);
  await forRows(
    tx,
    columns,
    rows,
    (given) =>
      sql`update ${sql.table(table)} set ${sql.ref(time)} = ${given.value("at")}
      ${given.rows("from")}
      where coalesce(${column(time)}, 0) < ${given.value("at")} and ${
        sql.join(key.map((name) => sql`${column(name)} = ${given.value(name)}`), sql` and `)
      }`,
  );
}
