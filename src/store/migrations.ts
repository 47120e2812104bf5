/**
 * Brings a database to the schema of this version: files of migrations/, in order, each once, all in
 * one transaction. A file that was changed after it ran, or a schema that is newer than this program,
 * is refused: to go on would lose what the newer one wrote.
 */
import { createHash } from "node:crypto";
import { type Kysely, sql } from "kysely";
import { OpenboxError } from "../errors.ts";
import first from "./migrations/001_first.sql" with { type: "text" };
import audit from "./migrations/003_audit.sql" with { type: "text" };
import ca from "./migrations/006_ca.sql" with { type: "text" };
import sessions from "./migrations/002_sessions.sql" with { type: "text" };
import type { Tables } from "./tables.ts";

export interface Migration {
  readonly name: string;
  readonly sql: string;
}

export const MIGRATIONS: readonly Migration[] = [
  { name: "001_first", sql: first },
  { name: "002_sessions", sql: sessions },
  { name: "003_audit", sql: audit },
  { name: "006_ca", sql: ca },
];

/** The names of those that ran now. */
export async function migrate(
  db: Kysely<Tables>,
  now: number,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<string[]> {
  return await db.transaction().execute(async (tx) => {
    await sql`create table if not exists schema_migrations (
      name text primary key, checksum text not null, applied_at integer not null
    ) strict`.execute(tx);
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
      for (const statement of statements(migration.sql)) await sql.raw(statement).execute(tx);
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
