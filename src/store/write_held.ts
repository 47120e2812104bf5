/**
 * Held times on their way into the database. None goes back: another control plane may have heard later
 * of the same node.
 */
import { type RawBuilder, sql, type Transaction } from "kysely";
import type { Held } from "./held_times.ts";
import { isPostgres, lock } from "./lock.ts";
import type { Tables } from "./tables.ts";

/** Where each kind is kept. The words of its id, parted by a blank, are the key. */
const COLUMNS = {
  nodes: { table: "nodes", time: "last_seen_at", key: ["id"] },
  user_tokens: { table: "user_tokens", time: "last_used_at", key: ["id"] },
  sessions: { table: "sessions", time: "last_used_at", key: ["user_id", "name"] },
  "list versions": { table: "nodes", time: "revocations_version", key: ["id"] },
  "list times": { table: "nodes", time: "revocations_signed_at", key: ["id"] },
} as const;

export type HeldColumn = keyof typeof COLUMNS;

export async function writeHeld(
  tx: Transaction<Tables>,
  kind: HeldColumn,
  times: readonly Held[],
): Promise<void> {
  const { table, time, key } = COLUMNS[kind];
  const column = (name: string) => sql.ref(`${table}.${name}`);
  const update = (
    at: RawBuilder<unknown>,
    from: RawBuilder<unknown>,
    values: RawBuilder<unknown>[],
  ) =>
    sql`update ${sql.table(table)} set ${sql.ref(time)} = ${at} ${from}
      where coalesce(${column(time)}, 0) < ${at} and ${
      sql.join(key.map((name, i) => sql`${column(name)} = ${values[i]}`), sql` and `)
    }`.execute(tx);
  if (!isPostgres(tx)) {
    for (const [id, at] of times) {
      await update(sql`${at}`, sql``, id.split(" ").map((word) => sql`${word}`));
    }
    return;
  }
  // two processes that write the same rows in another order would wait for each other
  await lock(tx, "held times");
  // one statement: the server may be many milliseconds away
  const rows = times.map(([id, at]) =>
    Object.fromEntries([["at", at], ...id.split(" ").map((word, i) => [key[i]!, word])])
  );
  const columns = sql.join([sql`at bigint`, ...key.map((name) => sql`${sql.ref(name)} text`)]);
  await update(
    sql`held.at`,
    sql`from json_to_recordset(cast(cast(${
      JSON.stringify(rows)
    } as text) as json)) as held(${columns})`,
    key.map((name) => sql.ref(`held.${name}`)),
  );
}
