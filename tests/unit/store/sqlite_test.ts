import { ENTRY } from "../../fixtures/audit_entry.ts";
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../../src/clock.ts";
import { createSerials, SERIAL_BLOCK } from "../../../src/control/serials.ts";
import type { Code, OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";
import { enroll, userToken } from "../../contract/store_suite.ts";
import { takenAwayUnrecorded, UNRECORDED } from "./taken_away.ts";

const NOW = Date.UTC(2026, 0, 1);
const open = (path: string, mustExist = false): Promise<Store> =>
  openSqliteStore(path, { clock: systemClock, mustExist });
const refuses = (code: Code, text: RegExp, call: Promise<unknown>) =>
  assert.rejects(call, (error: OpenboxError) => {
    assert.equal(error.code, code);
    assert.match(`${error.message} ${error.hint}`, text);
    return true;
  });

async function directory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("what a store took is there when it is opened again", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a.db`, token = new Secret("obx_a");
  let id: string;
  {
    await using store = await open(path);
    const user = await store.createAccount("me", NOW, ENTRY);
    await store.addUserToken(user, userToken(token), ENTRY);
    ({ id } = await enroll(store, user, "mini", ["a"]));
    const node = (await store.nodeByToken(new Secret("token of mini")))!;
    const beat = { addr: undefined, version: undefined, bootId: undefined, now: NOW + 1 };
    await store.recordBeat(node, beat);
  }
  await using store = await open(path, true);
  const user = (await store.userByToken(token, NOW))!;
  // the beat was only held: closing wrote it
  assert.equal((await store.node(user.accountId, id))?.lastSeenAt, NOW + 1);
});

Deno.test("no text of a secret is in the file, nor in its log", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a.db`;
  await using store = await open(path);
  const user = await store.createAccount("me", NOW, ENTRY);
  await store.addUserToken(user, userToken(new Secret("obx_verysecret")), ENTRY);
  await enroll(store, user, "verysecret");
  const bytes = [path, `${path}-wal`].map((file) => Deno.readTextFileSync(file)).join();
  assert.ok(bytes.includes("key of verysecret"), "the search finds what is there");
  for (const secret of ["obx_verysecret", "secret of key", "token of verysecret"]) {
    assert.ok(!bytes.includes(secret), secret);
  }
});

Deno.test("what is taken away is taken away also where the audit takes no record", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a.db`;
  await (await open(path))[Symbol.asyncDispose]();
  {
    using database = new DatabaseSync(path);
    database.exec(
      `create trigger full before insert on audit when new.actor = '${UNRECORDED.actor}'
       begin select raise(abort, 'no room'); end`,
    );
  }
  await using store = await open(path);
  await takenAwayUnrecorded(store, await store.createAccount("me", NOW, ENTRY));
});

Deno.test("STO-6: the file is made 0600, and its log too", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a.db`;
  await using store = await open(path);
  await store.createAccount("me", NOW, ENTRY);
  for (const file of [path, `${path}-wal`]) {
    assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600, file);
  }
});

Deno.test("STO-6: a file that others can read is refused with the command", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a b.db`;
  await (await open(path))[Symbol.asyncDispose]();
  await Deno.chmod(path, 0o644);
  await refuses("unsafe_file", /chmod 600 '.*\/a b\.db'/, open(path));
});

Deno.test("STO-6: a link in the file's place, and a file of somebody else, are refused", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a.db`;
  await (await open(path))[Symbol.asyncDispose]();
  await Deno.symlink(path, `${dir.path}/link.db`);
  await refuses("unsafe_file", /symbolic link.*name the file/, open(`${dir.path}/link.db`));
  await Deno.symlink(`${dir.path}/nothing`, `${dir.path}/dangling.db`);
  await refuses("unsafe_file", /symbolic link/, open(`${dir.path}/dangling.db`));
  await assert.rejects(Deno.stat(`${dir.path}/nothing`), Deno.errors.NotFound);
  if (Deno.uid() !== 0) return;
  await Deno.chown(path, 12345, 12345);
  await refuses("unsafe_file", /belongs to another user \(uid 12345\).*chown 0/, open(path));
});

Deno.test("a database of another program is refused and stays as it is", async () => {
  await using dir = await directory();
  const path = `${dir.path}/go.db`;
  const other = new DatabaseSync(path);
  other.exec("create table nodes (id text)");
  other.close();
  await Deno.chmod(path, 0o600);
  const before = await Deno.readFile(path);
  await refuses("bad_file", /not made by this openbox.*mv /, open(path));
  assert.deepEqual(await Deno.readFile(path), before);
});

Deno.test("a file that is no database is refused and stays as it is", async () => {
  await using dir = await directory();
  const path = `${dir.path}/text`;
  await Deno.writeTextFile(path, "not a database, however long this text may be\n".repeat(99), {
    mode: 0o600,
  });
  await refuses("bad_file", /Cannot use the database/, open(path));
  assert.match(await Deno.readTextFile(path), /^not a database/);
});

Deno.test("a missing directory, a missing file where one must be, and a directory are refused", async () => {
  await using dir = await directory();
  await refuses("bad_file", /its directory is missing/, open(`${dir.path}/no/a.db`));
  await refuses("bad_file", /There is no database/, open(`${dir.path}/a.db`, true));
  await refuses("bad_file", /directory/i, open(dir.path));
  assert.deepEqual(await Array.fromAsync(Deno.readDir(dir.path)), []);
});

Deno.test("a second process is refused while the first lives, and not when it was killed", async () => {
  await using dir = await directory();
  const path = `${dir.path}/a.db`;
  const holder = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", new URL("hold_store.ts", import.meta.url).pathname, path],
    stdout: "piped",
  }).spawn();
  const output = holder.stdout.getReader();
  await output.read(); // it says when it has the file
  const { pid } = holder;
  await refuses(
    "conflict",
    new RegExp(`in use: another control plane .*process ${pid} .*stop that one`),
    open(path),
  );
  holder.kill("SIGKILL");
  await holder.status;
  await output.cancel();
  // the killed one left its number: who has the file now is not that one
  const other = new DatabaseSync(path);
  other.exec("begin exclusive");
  const error: OpenboxError = await open(path).then(() => assert.fail(), (error) => error);
  assert.equal(error.code, "conflict");
  assert.doesNotMatch(error.message, /process/);
  other.close();
  await using store = await open(path);
  assert.equal((await store.firstUser())?.name, "holder");
});

Deno.test("CERT-29: serials go on after a restart, and none comes twice", async () => {
  await using dir = await directory();
  const given: bigint[] = [];
  for (let start = 0; start < 3; start++) {
    await using store = await open(`${dir.path}/a.db`);
    const next = createSerials((count) => store.reserveSerials(count, NOW));
    for (let i = 0; i < SERIAL_BLOCK + 10; i++) given.push(await next());
  }
  assert.equal(new Set(given).size, given.length);
  assert.ok(given.every((serial, i) => i === 0 || serial > given[i - 1]!));
});

Deno.test("STO-17: 10,000 beats write once a flush, and let others in between", async () => {
  await using dir = await directory();
  await using store = await open(`${dir.path}/a.db`);
  const user = await store.createAccount("me", NOW, ENTRY);
  const { id } = await enroll(store, user, "mini");
  const node = (await store.nodeByToken(new Secret("token of mini")))!;
  const size = () => Deno.statSync(`${dir.path}/a.db-wal`).size;
  const before = size();
  const beat = { addr: undefined, version: undefined, bootId: undefined };
  for (let i = 0; i < 10_000; i++) {
    // the nodes need not be in the table to be held
    const seen = { ...node, id: i === 0 ? id : `node_${i}`, storedSeenAt: NOW };
    await store.recordBeat(seen, { ...beat, now: NOW + i });
  }
  assert.equal(size(), before);
  let turns = 0;
  const counting = setInterval(() => turns++);
  await store.flush();
  clearInterval(counting);
  assert.ok(turns >= 5, `${turns} turns of others while it wrote`);
  assert.equal((await store.node(user.accountId, id))?.lastSeenAt, NOW);
});
