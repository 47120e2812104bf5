/**
 * One statement for many rows. SQLite runs it once for each: it is in our process. Postgres gets all rows at
 * once, as JSON and so with one text however many they are: its server may be many milliseconds away, and
 * a call has seconds.
 */
import { type RawBuilder, sql, type Transaction } from "kysely";
import { isPostgres } from "./lock.ts";
import type { Tables } from "./tables.ts";

type Column = "text" | "bigint";

export interface Given<Name extends string> {
  /** The value of a column of the row that it is about. */
  value(name: Name): RawBuilder<unknown>;
  /** Where the rows come from: after the `set` of an update, the table of a delete, or what an insert selects. */
  rows(word: "from" | "using"): RawBuilder<unknown>;
}

/** Returns what the statement returns. */
export async function forRows<Name extends string, Row = unknown>(
  tx: Transaction<Tables>,
  columns: Readonly<Record<Name, Column>>,
  rows: readonly Readonly<Record<Name, string | number | null>>[],
  statement: (given: Given<Name>) => RawBuilder<Row>,
): Promise<readonly Row[]> {
  if (rows.length === 0) return [];
  if (!isPostgres(tx)) {
    const returned: Row[] = [];
    for (const row of rows) {
      const one = statement({ value: (name) => sql`${row[name]}`, rows: () => sql`` });
      returned.push(...(await one.execute(tx)).rows);
    }
    return returned;
  }
  const typed = Object.entries<Column>(columns)
    .map(([name, type]) => sql`${sql.ref(name)} ${sql.raw(type)}`);
  const all = sql`json_to_recordset(cast(cast(${JSON.stringify(rows)} as text) as json))
    as given(${sql.join(typed)})`;
  const answer = await statement({
    value: (name) => sql.ref(`given.${name}`),
    rows: (word) => sql`${sql.raw(word)} ${all}`,
  }).execute(tx);
  return answer.rows;
}
