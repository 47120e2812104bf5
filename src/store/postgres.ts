/**
 * The store in a Postgres database, which several control planes may share. Each call ends in time,
 * whatever the server does, and the next one connects anew by itself.
 */
import { Kysely, sql } from "kysely";
import { abortReason, deadline } from "../abort.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import { timed, untilThen } from "./call_deadline.ts";
import { migrate } from "./migrations.ts";
import {
  type ConnectOptions,
  connectPostgres,
  type PostgresConnection,
} from "./postgres_connection.ts";
import { postgresDialect } from "./postgres_dialect.ts";
import { describeDsn, type PostgresDsn } from "./postgres_dsn.ts";
import { refusalOf, sqlState, Unreachable, verdictOf } from "./postgres_errors.ts";
import { createPostgresPool } from "./postgres_pool.ts";
import { type Restored, restoreInto, type RestoreOptions } from "./restore.ts";
import { createSqlStore } from "./sql_store.ts";
import type { Store } from "./store.ts";
import type { Tables } from "./tables.ts";

export interface PostgresOptions {
  readonly clock: Clock;
  /** False: reject with `database_unavailable` where the database is away, instead of waiting for it. */
  readonly wait?: boolean;
  /** Ends the wait. */
  readonly signal?: AbortSignal;
  readonly maxConnections?: number;
}

const MAX_CONNECTIONS = 10;
/** Another control plane may be migrating; that one goes first. */
const MIGRATE_MS = 60_000;
const LONGEST_PAUSE_MS = 1000;

/**
 * Waits for the database, and brings its schema up to date. Rejects with `bad_setting` where waiting
 * would not help, with `bad_file` for a schema that is not this version's, and with the signal's reason.
 */
export async function openPostgresStore(
  dsn: PostgresDsn,
  options: PostgresOptions,
): Promise<Store> {
  const { db, end } = await connectKysely(dsn, options.maxConnections);
  const onAbort = () => void end();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await migrateWhenThere(db, dsn, options);
  } catch (error) {
    await end();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
  return createSqlStore(db, { attempt, snapshot: (work) => snapshot(db, work) });
}

/** For a backup: of millions of rows, to somebody who reads slowly. */
const SNAPSHOT_MS = 30 * 60_000;

const snapshot = (
  db: Kysely<Tables>,
  work: (reader: Kysely<Tables>) => Promise<void>,
): Promise<void> =>
  untilThen(
    performance.now() + SNAPSHOT_MS,
    () =>
      db.transaction().setIsolationLevel("repeatable read").setAccessMode("read only")
        .execute(work),
  );

/**
 * Puts a backup into a database that has no tables of openbox yet. Rejects with `conflict` for one that
 * is not empty, and as `openPostgresStore` does for one that is away.
 */
export async function restorePostgres(
  dsn: PostgresDsn,
  options: RestoreOptions,
): Promise<Restored> {
  const { db, end } = await connectKysely(dsn);
  try {
    return await untilThen(performance.now() + SNAPSHOT_MS, () => restoreInto(db, options));
  } catch (error) {
    throw refusalOf(error) ?? error;
  } finally {
    await end();
  }
}

/** `end` closes what is open, in use or not. */
async function connectKysely(dsn: PostgresDsn, max = MAX_CONNECTIONS) {
  const rootCert = dsn.tls.kind === "verified" && dsn.tls.rootCert !== undefined
    ? await readRootCert(dsn.tls.rootCert)
    : undefined;
  const pool = createPostgresPool({
    connect: (onEnd, signal) => connectAny({ dsn, rootCert, onEnd, signal }),
    max,
  });
  const db = new Kysely<Tables>({ dialect: postgresDialect(pool) });
  return { db, end: () => pool[Symbol.asyncDispose]() };
}

/** Hosts in turn, so that the one that takes writes is found wherever it is. */
async function connectAny(
  { dsn, signal, ...options }: Omit<ConnectOptions, "host">,
): Promise<PostgresConnection> {
  let failure: unknown;
  for (const host of dsn.hosts) {
    using limit = deadline(
      dsn.connectTimeoutMs,
      () => new Error(`${host.hostname}:${host.port} did not answer`),
      { signal },
    );
    try {
      return await connectPostgres({ ...options, dsn, host, signal: limit.signal });
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

const MOST_TRIES = 10, LONGEST_TRY_PAUSE_MS = 100;

/**
 * One call, within its time: what the server undid because of another call, or because the connection
 * ended, is done anew. A commit without an answer is not: it may have taken place.
 */
const attempt = <T>(work: () => Promise<T>): Promise<T> =>
  timed(async (endsAt) => {
    for (let tries = 1;; tries++) {
      if (performance.now() >= endsAt) throw new Unreachable(new Error("No time is left for it"));
      try {
        return await untilThen(endsAt, work);
      } catch (error) {
        const pause = LONGEST_TRY_PAUSE_MS * Math.random();
        const late = performance.now() + pause >= endsAt;
        if (late || tries === MOST_TRIES || verdictOf(error) === "final") throw error;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  });

async function migrateWhenThere(
  db: Kysely<Tables>,
  dsn: PostgresDsn,
  { clock, signal, wait = true }: PostgresOptions,
): Promise<void> {
  for (let waited = false;; waited = true) {
    if (signal?.aborted) throw abortReason(signal);
    try {
      await attempt(() => sql`select 1`.execute(db));
      return void await untilThen(
        performance.now() + MIGRATE_MS,
        () => migrate(db, clock.now()),
      );
    } catch (error) {
      if (signal?.aborted) throw abortReason(signal);
      const refusal = refusalOf(error) ?? unusable(error);
      if (refusal) throw refusal;
      if (!wait) throw away(dsn, error);
      if (!waited) log("store").warn("waiting for the database", { database: describeDsn(dsn) });
    }
    await clock.sleep(LONGEST_PAUSE_MS * Math.random(), { signal });
  }
}

const away = (dsn: PostgresDsn, cause: unknown) =>
  new OpenboxError(
    "database_unavailable",
    `Cannot reach the database ${describeDsn(dsn)}: ${(cause as Error).message}`,
    { hint: "look whether it runs, and at OPENBOX_DB", cause },
  );

/** Undefined for what may be over when it is tried again. */
function unusable(error: unknown): OpenboxError | undefined {
  const state = sqlState(error);
  if (state === undefined || verdictOf(error) !== "final" || /^(53|55|57|58|XX)/.test(state)) {
    return;
  }
  // duplicate_table, undefined_column: there is a table of that name, and it is not ours
  return state === "42P07" || state === "42703"
    ? new OpenboxError("bad_file", "The Postgres database holds tables of another program", {
      hint: "createdb makes one for openbox alone; OPENBOX_DB names it",
      cause: error,
    })
    : new OpenboxError(
      "bad_file",
      `Cannot bring the Postgres database up to date: ${(error as Error).message}`,
      { cause: error },
    );
}

async function readRootCert(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new OpenboxError("bad_file", `Cannot read the sslrootcert ${path}`, {
      hint: "sslrootcert in OPENBOX_DB names a PEM file that this user can read",
      cause: error,
    });
  }
}
