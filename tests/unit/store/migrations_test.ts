import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { Kysely } from "kysely";
import type { OpenboxError } from "../../../src/errors.ts";
import { migrate, type Migration, MIGRATIONS } from "../../../src/store/migrations.ts";
import { nodeSqliteDialect } from "../../../src/store/sqlite_dialect.ts";
import type { Tables } from "../../../src/store/tables.ts";

const A: Migration = { name: "001_a", sql: "-- a; b\ncreate table a (id text) strict;\n" };
const B: Migration = {
  name: "002_b",
  sql: "create table b (id text) strict;\n\ninsert into b values ('x');\n",
};
const BROKEN: Migration = {
  name: "003_c",
  sql: "create table c (id text);\ncreate table c (id text);\n",
};

function memory() {
  const raw = new DatabaseSync(":memory:");
  const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(raw) });
  const tables = () =>
    raw.prepare("select name from sqlite_master where type = 'table' order by name").all()
      .map(({ name }) => name);
  return { raw, db, tables, [Symbol.asyncDispose]: () => db.destroy() };
}

Deno.test("STO-7: migrations run in order, each once", async () => {
  await using it = memory();
  assert.deepEqual(await migrate(it.db, 1, [A]), ["001_a"]);
  assert.deepEqual(await migrate(it.db, 2, [A, B]), ["002_b"]);
  assert.deepEqual(await migrate(it.db, 3, [A, B]), []);
  assert.deepEqual(it.tables(), ["a", "b", "schema_migrations"]);
  assert.equal(it.raw.prepare("select count(*) as n from b").get()?.n, 1);
});

Deno.test("STO-7: a migration that fails leaves the schema as it was, the ones before it too", async () => {
  await using it = memory();
  await migrate(it.db, 1, [A]);
  await assert.rejects(migrate(it.db, 2, [A, B, BROKEN]));
  assert.deepEqual(it.tables(), ["a", "schema_migrations"]);
  assert.deepEqual(await migrate(it.db, 3, [A, B]), ["002_b"]);
});

Deno.test("STO-7: a newer schema is refused and not touched", async () => {
  await using it = memory();
  await migrate(it.db, 1, [A, B]);
  await assert.rejects(migrate(it.db, 2, [A]), (error: OpenboxError) => {
    assert.equal(error.code, "bad_file");
    assert.match(error.message, /newer openbox.*002_b/);
    return true;
  });
  assert.deepEqual(it.tables(), ["a", "b", "schema_migrations"]);
});

Deno.test("STO-7: a migration that was changed after it ran is refused", async () => {
  await using it = memory();
  await migrate(it.db, 1, [A]);
  const changed = { ...A, sql: A.sql + "create table z (id text);\n" };
  await assert.rejects(migrate(it.db, 2, [changed]), /another build/);
  assert.deepEqual(it.tables(), ["a", "schema_migrations"]);
});

Deno.test("every table of ours names the account of its rows", async () => {
  await using it = memory();
  await migrate(it.db, 1, MIGRATIONS);
  const ours = it.tables().filter((name) => name !== "schema_migrations");
  assert.ok(ours.length >= 7);
  for (const table of ours) {
    const columns = it.raw.prepare(`select name from pragma_table_info('${table}')`).all();
    assert.ok(columns.some(({ name }) => name === "account_id"), String(table));
  }
});

Deno.test("who was there before keeps what he could do, and the first user may say who else", async () => {
  await using it = memory();
  const before = MIGRATIONS.filter(({ name }) => name < "004");
  await migrate(it.db, 1, before);
  it.raw.exec(`
    insert into accounts values ('acc_1', 1), ('acc_2', 1);
    insert into users (id, account_id, name, created_at) values
      ('usr_b', 'acc_1', 'b', 5), ('usr_a', 'acc_1', 'a', 5), ('usr_c', 'acc_1', 'c', 4),
      ('usr_d', 'acc_2', 'd', 9);
    insert into user_tokens (id, account_id, user_id, name, hash, created_at, expires_at) values
      ('tok_1', 'acc_1', 'usr_a', 'old', x'00', 1, 2);
    insert into enroll_tokens
      (id, account_id, hash, tags, created_by, created_at, expires_at, used_at) values
      ('tok_2', 'acc_1', x'01', '[]', 'usr_a', 1, 2, null),
      ('tok_3', 'acc_1', x'02', '[]', 'usr_a', 1, 2, 1);
  `);
  await migrate(it.db, 2, MIGRATIONS);
  const rules = it.raw.prepare(
    "select account_id as a, user_id as u, name as n, grant_text as g from rules order by u, n",
  ).all().map(({ a, u, n, g }) => `${a} ${u} ${n} ${g}`);
  assert.deepEqual(rules, [
    "acc_1 usr_a read read",
    "acc_1 usr_a run run",
    "acc_1 usr_b read read",
    "acc_1 usr_b run run",
    "acc_1 usr_c admin admin",
    "acc_1 usr_c read read",
    "acc_1 usr_c run run",
    "acc_2 usr_d admin admin",
    "acc_2 usr_d read read",
    "acc_2 usr_d run run",
  ]);
  assert.equal(it.raw.prepare("select scopes from user_tokens").get()?.scopes, null);
  const left = it.raw.prepare("select uses_left from enroll_tokens order by id").all();
  assert.deepEqual(left.map(({ uses_left }) => uses_left), [1, 0]);
});
