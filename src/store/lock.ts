/**
 * What one caller at a time may do, over all processes on one database, until its transaction ends. On
 * SQLite transactions come one after the other anyway, so it costs nothing there.
 */
import { createHash } from "node:crypto";
import { type Kysely, PostgresAdapter, sql, type Transaction } from "kysely";
import type { Tables } from "./tables.ts";

export const isPostgres = (db: Kysely<Tables>): boolean =>
  db.getExecutor().adapter instanceof PostgresAdapter;

/** `what` is any text; first thing in the transaction, so that what is read after it is the newest. */
export async function lock(tx: Transaction<Tables>, what: string): Promise<void> {
  if (!isPostgres(tx)) return;
  // of the transaction, not of the session: behind a pooler that would stay with somebody else's
  await sql`select pg_advisory_xact_lock(${sql.lit(lockNumber(what))})`.execute(tx);
}

/** What the query finds is nobody else's to change until the transaction ends, and is read as it is then. */
export const locked = <Query extends { forNoKeyUpdate(): Query }>(
  tx: Transaction<Tables>,
  query: Query,
): Query => isPostgres(tx) ? query.forNoKeyUpdate() : query;

const lockNumber = (what: string): bigint =>
  createHash("sha256").update(`openbox ${what}`).digest().readBigInt64BE();
