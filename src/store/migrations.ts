/**
 * Brings a database to the schema of this version: files of migrations/, in order, each once, all in
 * one transaction. A file that was changed after it ran, or a schema that is newer than this program,
 * is refused: to go on would lose what the newer one wrote.
 */
import { createHash } from "node:crypto";
import { type Kysely, sql } from "kysely";
import { OpenboxError } from "../errors.ts";
import { isPostgres, lock } from "./lock.ts";
import first from "./migrations/001_first.sql" with { type: "text" };
import auditSinks from "./migrations/008_audit_sinks.sql" with { type: "text" };
import sessions from "./migrations/002_sessions.sql" with { type: "text" };
import audit from "./migrations/003_audit.sql" with { type: "text" };
import access from "./migrations/004_access.sql" with { type: "text" };
import revocations from "./migrations/005_revocations.sql" with { type: "text" };
import ca from "./migrations/006_ca.sql" with { type: "text" };
import listVersions from "./migrations/009_list_versions.sql" with { type: "text" };
import type { Tables } from "./tables.ts";

export interface Migration {
  readonly name: string;
  readonly sql: string;
}

export const MIGRATIONS: readonly Migration[] = [
  { name: "001_first", sql: first },
  { name: "002_sessions", sql: sessions },
  { name: "003_audit", sql: audit },
  { name: "004_access", sql: access },
  { name: "005_revocations", sql: revocations },
  { name: "006_ca", sql: ca },
  { name: "008_audit_sinks", sql: auditSinks },
  { name: "009_list_versions", sql: listVersions },
];

/** The names of those that ran now. Of several processes at once one runs them. */
export async function migrate(
  db: Kysely<Tables>,
  now: number,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<string[]> {
  return await db.transaction().execute(async (tx) => {
    await lock(tx, "migrations");
    const run = (statement: string) => sql.raw(dialect(tx, statement)).execute(tx);
    await run(OWN_TABLE);
    const done = await tx.selectFrom("schema_migrations").select(["name", "checksum"])
      .orderBy("name").execute();
    const known = new Map(migrations.map((migration) => [migration.name, migration]));
    for (const { name, checksum } of done) {
      const migration = known.get(name);
      if (!migration) throw newer(name);
      if (checksumOf(migration) !== checksum) throw changed(name);
    }
    const ran: string[] = [];
    const before = new Set(done.map(({ name }) => name));
    for (const migration of migrations) {
      if (before.has(migration.name)) continue;
      for (const statement of statements(migration.sql)) await run(statement);
      await tx.insertInto("schema_migrations").values({
        name: migration.name,
        checksum: checksumOf(migration),
        applied_at: now,
      }).execute();
      ran.push(migration.name);
    }
    return ran;
  });
}

const OWN_TABLE = `create table if not exists schema_migrations (
  name text primary key,
  checksum text not null,
  applied_at integer not null
) strict`;

/**
 * The files are written in SQLite's words, a column a line. In Postgres integer has 32 bits, and text sorts
 * by the database's language unless told to sort by its bytes.
 */
const dialect = (db: Kysely<Tables>, statement: string): string =>
  !isPostgres(db) ? statement : statement.replace(/--.*$/gm, "")
    .replace(
      /^(\s+\w+|\s*alter table \w+ add column \w+) (integer|blob|text)\b/gm,
      (_, column, type) => `${column} ${POSTGRES_TYPES[type]}`,
    )
    .replace(/\)\s*strict\s*$/, ")");

const POSTGRES_TYPES: Readonly<Record<string, string>> = {
  integer: "bigint",
  blob: "bytea",
  text: 'text collate "C"',
};

const checksumOf = (migration: Migration): string =>
  createHash("sha256").update(migration.sql).digest("hex");

/** The files end each statement with a semicolon at the end of a line, and nothing else with one. */
const statements = (text: string): string[] =>
  text.split(/;$/m).filter((statement) => statement.replace(/^\s*--.*$/gm, "").trim() !== "");

const newer = (name: string) =>
  new OpenboxError(
    "bad_file",
    `The database was written by a newer openbox: it holds the change "${name}"`,
    { hint: "start the newer version, or restore the backup from before it" },
  );

const changed = (name: string) =>
  new OpenboxError(
    "bad_file",
    `The database was made by another build of openbox: its change "${name}" differs from this one's`,
    { hint: "start the version that made it" },
  );
