/**
 * The store in one SQLite file. One process has it at a time: the lock is SQLite's own and ends with
 * the process, however that ends. Acknowledged means on the disk (WAL with synchronous=FULL).
 */
import { Kysely } from "kysely";
import { backup, DatabaseSync } from "node:sqlite";
import type { Clock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import { migrate } from "./migrations.ts";
import { holdPidFile, readPidFile } from "./pid_file.ts";
import {
  type Carried,
  readCarried,
  type Restored,
  restoreInto,
  type RestoreOptions,
} from "./restore.ts";
import { createSqlStore } from "./sql_store.ts";
import { nodeSqliteDialect } from "./sqlite_dialect.ts";
import type { Store } from "./store.ts";
import type { Tables } from "./tables.ts";

/** A database that lives as long as its store. */
export const IN_MEMORY = ":memory:";

/** A process that has just ended lets go within this; one that still holds the file is running. */
const LOCK_WAIT_MS = 1000;

export interface SqliteOptions {
  readonly clock: Clock;
  /** Refuse with `bad_file` where there is no file yet. */
  readonly mustExist?: boolean;
}

/**
 * Opens the file, made with mode 0600 where it is absent, and brings its schema up to date. Rejects
 * with `conflict` when another process has it, `unsafe_file` when other users can get at it,
 * `bad_file` when it is no database of ours.
 */
export async function openSqliteStore(path: string, options: SqliteOptions): Promise<Store> {
  // before SQLite opens it: closing any handle of the file would drop SQLite's locks on it (POSIX)
  if (path !== IN_MEMORY) await preparePrivateFile(path, options.mustExist ?? false);
  const { database, db } = await openKysely(path, options.clock);
  try {
    await migrate(db, options.clock.now());
  } catch (error) {
    await db.destroy();
    throw await asOpenError(path, error);
  }
  let copying: Promise<void> = Promise.resolve();
  return createSqlStore(db, {
    attempt: (work) => work(),
    // one at a time: the copy has one name, which the rights of this process name too
    snapshot: (work) =>
      copying = copying.catch(() => {})
        .then(() => snapshot(database, path === IN_MEMORY ? undefined : path, work)),
  });
}

/** A copy beside the database: our one connection stays free for the calls that come meanwhile. */
async function snapshot(
  database: DatabaseSync,
  path: string | undefined,
  work: (reader: Kysely<Tables>) => Promise<void>,
): Promise<void> {
  const copy = path === undefined
    ? await Deno.makeTempFile({ prefix: "openbox-" })
    : `${path}.copy`;
  try {
    await removeFiles(copy); // of a process that was killed
    (await Deno.open(copy, { write: true, createNew: true, mode: 0o600 })).close();
    await backup(database, copy, { rate: 200 });
    const reader = new Kysely<Tables>({
      dialect: nodeSqliteDialect(new DatabaseSync(copy, { readOnly: true })),
    });
    try {
      await work(reader);
    } finally {
      await reader.destroy();
    }
  } finally {
    await removeFiles(copy);
  }
}

/**
 * Puts a backup in the place of the file, whose control plane must be stopped (`conflict` else). What was
 * there stays beside it, as `FILE.before-restore`, and what must not be undone is carried over from it.
 */
export async function restoreSqlite(
  path: string,
  { clock, ...options }: Omit<RestoreOptions, "carry" | "now"> & { readonly clock: Clock },
): Promise<Restored & { readonly replaced: string | undefined }> {
  const now = clock.now(), fresh = `${path}.restoring`;
  let carry: Carried | undefined;
  if (await exists(path) && (await Deno.lstat(path)).size > 0) {
    await preparePrivateFile(path, true);
    const old = await openKysely(path, clock);
    try {
      await migrate(old.db, now);
      carry = await readCarried(old.db);
    } catch (error) {
      throw await asOpenError(path, error);
    } finally {
      await old.db.destroy();
    }
  }
  await removeFiles(fresh);
  await preparePrivateFile(fresh, false);
  const { db } = await openKysely(fresh, clock);
  let restored: Restored;
  try {
    restored = await restoreInto(db, { ...options, carry, now });
  } catch (error) {
    await db.destroy();
    await removeFiles(fresh);
    throw error;
  }
  await db.destroy();
  const replaced = carry && `${path}.before-restore`;
  if (replaced) {
    for (const suffix of SUFFIXES) {
      await Deno.rename(path + suffix, replaced + suffix).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
    }
  }
  await Deno.rename(fresh, path);
  return { ...restored, replaced };
}

/** Of a file whose last connection was closed well only the first is there. */
const SUFFIXES = ["", "-wal", "-shm"];

/** Those that are there. */
async function removeFiles(path: string): Promise<void> {
  for (const suffix of SUFFIXES) await Deno.remove(path + suffix).catch(() => {});
}

/** Locked; closing kysely closes the file. */
async function openKysely(path: string, clock: Clock) {
  const database = await openLocked(path, clock);
  const pid = path === IN_MEMORY ? undefined : await holdPidFile(pidPath(path));
  const db = new Kysely<Tables>({
    dialect: nodeSqliteDialect({
      prepare: (text) => database.prepare(text),
      close() {
        // first: after it another process may have the database, and a file of its own
        pid?.[Symbol.dispose]();
        database.close();
      },
    }),
  });
  return { database, db };
}

const pidPath = (path: string): string => `${path}.pid`;

async function preparePrivateFile(path: string, mustExist: boolean): Promise<void> {
  try {
    if (!mustExist && !await exists(path)) {
      (await Deno.open(path, { write: true, create: true, mode: 0o600 })).close();
    }
    refuseForeign(path, await Deno.lstat(path));
  } catch (error) {
    if (error instanceof OpenboxError) throw error;
    const absent = error instanceof Deno.errors.NotFound;
    throw new OpenboxError(
      "bad_file",
      absent && mustExist
        ? `There is no database ${path}`
        : `Cannot open the database ${path}: ${absent ? "its directory is missing" : what(error)}`,
      { hint: "--db PATH names another file", cause: error },
    );
  }
}

const exists = (path: string): Promise<boolean> =>
  Deno.lstat(path).then(() => true, (error) => {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  });

function refuseForeign(path: string, info: Deno.FileInfo): void {
  if (info.isSymlink) {
    throw new OpenboxError("unsafe_file", `${path} is a symbolic link`, {
      hint: "name the file that it points to",
    });
  }
  if (!info.isFile) {
    throw new OpenboxError("bad_file", `${path} is a ${info.isDirectory ? "directory" : "device"}`);
  }
  const uid = Deno.uid();
  if (info.uid !== null && info.uid !== uid) {
    throw new OpenboxError("unsafe_file", `${path} belongs to another user (uid ${info.uid})`, {
      hint: `chown ${uid} ${quoteWord(path)}`,
    });
  }
  if (info.mode !== null && (info.mode & 0o077) !== 0) {
    throw new OpenboxError("unsafe_file", `${path} is open to other users`, {
      hint: `chmod 600 ${quoteWord(path)}`,
    });
  }
}

async function openLocked(path: string, clock: Clock): Promise<DatabaseSync> {
  for (const until = clock.now() + LOCK_WAIT_MS;;) {
    try {
      return lock(path);
    } catch (error) {
      if (!isBusy(error) || clock.now() >= until) throw await asOpenError(path, error);
    }
    // two that try at once both hold the shared lock and stand in each other's way: let go, at odds
    await clock.sleep(10 + 40 * Math.random());
  }
}

function lock(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 0, enableForeignKeyConstraints: true });
  try {
    database.exec("pragma locking_mode = exclusive; begin exclusive; commit");
    refuseForeignSchema(path, database);
    database.exec("pragma journal_mode = wal; pragma synchronous = full");
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Nothing was written yet: what another program made stays as it is. */
function refuseForeignSchema(path: string, database: DatabaseSync): void {
  const tables = database.prepare("select name from sqlite_master where type = 'table'").all();
  if (tables.length === 0 || tables.some(({ name }) => name === "schema_migrations")) return;
  throw new OpenboxError("bad_file", `The database ${path} was not made by this openbox`, {
    hint: `mv ${quoteWord(path)} ${quoteWord(`${path}.old`)}, and start again with a new one`,
  });
}

const isBusy = (error: unknown): boolean => /database is locked/.test(what(error));

async function asOpenError(path: string, error: unknown): Promise<OpenboxError> {
  if (error instanceof OpenboxError) return error;
  if (isBusy(error)) {
    const pid = await readPidFile(pidPath(path));
    return new OpenboxError(
      "conflict",
      `The database ${path} is in use: another control plane runs on it${
        pid === undefined ? "" : `, as process ${pid}`
      }`,
      {
        hint: "stop that one first, or give this one a file of its own with --db PATH",
        cause: error,
      },
    );
  }
  return new OpenboxError("bad_file", `Cannot use the database ${path}: ${what(error)}`, {
    hint: "--db PATH names another file",
    cause: error,
  });
}

const what = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/ \(os error \d+\).*$/s, "");
