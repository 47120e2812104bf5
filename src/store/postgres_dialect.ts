/**
 * Kysely on our pool of connections. Nothing here is a session's: through a pooler each transaction may
 * meet another server, so time-outs are set with the transaction that they bound.
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from "kysely";
import { OpenboxError } from "../errors.ts";
import { CALL_MS, callEndsAt } from "./call_deadline.ts";
import { verdictOf } from "./postgres_errors.ts";
import type { Lease, PostgresPool } from "./postgres_pool.ts";

/** The server gives up this long before we cut the connection: that costs only the transaction. */
const MARGIN_MS = 250;

/** Closing kysely closes `pool`. */
export const postgresDialect = (pool: PostgresPool): Dialect => ({
  createAdapter: () => new PostgresAdapter(),
  createDriver: () => createDriver(pool),
  createIntrospector: (db) => new PostgresIntrospector(db),
  createQueryCompiler: () => new PostgresQueryCompiler(),
});

function createDriver(pool: PostgresPool): Driver {
  return {
    init: () => Promise.resolve(),
    async acquireConnection() {
      return leased(await pool.lend(callEndsAt() ?? performance.now() + CALL_MS));
    },
    async beginTransaction(connection, settings) {
      await (connection as LeasedConnection).begin(settings);
    },
    commitTransaction: (connection) => (connection as LeasedConnection).lease.connection.commit(),
    async rollbackTransaction(connection) {
      const { lease } = connection as LeasedConnection;
      // it must not hide why there is a rollback; a connection that cannot do it is not used again
      await lease.connection.query("rollback", []).catch(lease.connection.destroy);
    },
    releaseConnection(connection) {
      (connection as LeasedConnection).lease.giveBack();
      return Promise.resolve();
    },
    async destroy() {
      await pool[Symbol.asyncDispose]();
    },
  };
}

interface LeasedConnection extends DatabaseConnection {
  readonly lease: Lease;
  begin(settings: TransactionSettings): Promise<void>;
}

function leased(lease: Lease): LeasedConnection {
  const { connection, endsAt } = lease;
  async function query(text: string, parameters: readonly unknown[]) {
    // no text in Postgres has one: what was asked for is not there, and cannot be made
    if (parameters.some((value) => typeof value === "string" && value.includes("\0"))) {
      throw new OpenboxError("bad_request", "A text in the request has a zero byte");
    }
    try {
      return await connection.query(text, parameters);
    } catch (error) {
      if (verdictOf(error) === "elsewhere") connection.destroy(error as Error);
      throw error;
    }
  }
  return {
    lease,
    async begin({ isolationLevel, accessMode }) {
      // one message. A process that stands still in a transaction must not hold up the others for long
      const ms = Math.max(1, Math.floor(endsAt - performance.now() - MARGIN_MS));
      await query(
        `begin${isolationLevel ? ` isolation level ${isolationLevel}` : ""} ${accessMode ?? ""}; ` +
          `set local statement_timeout = ${ms}; set local lock_timeout = ${ms}; ` +
          `set local idle_in_transaction_session_timeout = ${ms + 2 * MARGIN_MS}`,
        [],
      );
    },
    async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
      const { rows, command, count } = await query(sql, parameters);
      const changes = count !== null && /^(INSERT|UPDATE|DELETE|MERGE)$/.test(command);
      return { rows: rows as R[], ...(changes && { numAffectedRows: BigInt(count) }) };
    },
    // deno-lint-ignore require-yield -- the store reads whole answers
    async *streamQuery() {
      throw new Error("not supported");
    },
  };
}
