import assert from "node:assert/strict";
import { systemClock } from "../../../src/clock.ts";
import { Secret } from "../../../src/secret.ts";
import { checkBackup } from "../../../src/store/backup.ts";
import { openPostgresStore, restorePostgres } from "../../../src/store/postgres.ts";
import { parsePostgresDsn } from "../../../src/store/postgres_dsn.ts";
import { openSqliteStore, restoreSqlite } from "../../../src/store/sqlite.ts";
import type { Store, User } from "../../../src/store/store.ts";
import { enroll, userToken } from "../../contract/store_suite.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { sharedPostgres } from "../../fixtures/postgres.ts";

const NOW = Date.UTC(2026, 0, 1);
const RESTORE = { ...ENTRY, action: "restore" } as const;
const CHANGE = { now: NOW + 5, force: true, keepMade: false };

async function scratch() {
  const directory = await Deno.makeTempDir();
  return {
    path: `${directory}/openbox.db`,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}
const open = (path: string) => openSqliteStore(path, { clock: systemClock });

/** An account with a node, two tokens and some records. */
async function fill(store: Store): Promise<User> {
  const user = await store.createAccount("me", NOW, { ...ENTRY, action: "user.add" });
  await store.addUserToken(user, userToken(new Secret("kept")), ENTRY);
  await store.addUserToken(user, userToken(new Secret("stolen")), ENTRY);
  await enroll(store, user, "mini", ["a", "b"]);
  await store.reserveSerials(1000, NOW);
  return user;
}

async function backup(store: Store, during = () => Promise.resolve()): Promise<string[]> {
  let text = "";
  await store.backup({ createdAt: NOW, extra: { ca: "sealed" } }, async (lines) => {
    if (text === "") await during();
    text += lines;
  });
  return text.trimEnd().split("\n");
}

const whole = (lines: readonly string[]) =>
  checkBackup(async function* () {
    yield* lines;
  });
const restoreTo = async (path: string, lines: readonly string[]) =>
  await restoreSqlite(path, { backup: await whole(lines), audit: RESTORE, clock: systemClock });

Deno.test("STO-8: a backup that is made while others write is one moment, and restores to it", async () => {
  await using one = await scratch();
  await using other = await scratch();
  let lines: string[], user: User;
  {
    await using store = await open(one.path);
    user = await fill(store);
    lines = await backup(store, async () => {
      for (let i = 0; i < 50; i++) await enroll(store, user, `later-${i}`);
    });
    assert.equal((await store.nodes(user.accountId, {})).length, 51);
  }
  assert.equal((await whole(lines)).head.extra.ca, "sealed");
  const { check, replaced } = await restoreTo(other.path, lines);
  assert.equal(check.bad, undefined);
  assert.equal(replaced, undefined);
  await using store = await open(other.path);
  const [node, ...more] = await store.nodes(user.accountId, {});
  assert.deepEqual([node!.name, node!.tags, more.length], ["mini", ["a", "b"], 0]);
  assert.ok(await store.userByToken(new Secret("kept"), NOW));
  assert.equal((await store.verifyAudit({})).bad, undefined);
  const [last] = await store.auditRecords(user.accountId, {
    after: 0,
    limit: 1,
    newest: true,
    installation: true,
  });
  assert.equal(last!.action, "restore");
  assert.ok(await store.reserveSerials(1, NOW) > 1_000_000n, "no serial is given again");
});

Deno.test("STO-8: a restore undoes no revocation, no removal and no spent token", async () => {
  await using files = await scratch();
  let lines: string[], user: User, bob: User, serials: bigint;
  {
    await using store = await open(files.path);
    user = await fill(store);
    bob = await store.addUser({
      accountId: user.accountId,
      name: "bob",
      createdBy: user.id,
      now: NOW,
    }, ENTRY);
    await store.addUserToken(bob, userToken(new Secret("bob's")), ENTRY);
    lines = await backup(store);
    const stolen = (await store.userByToken(new Secret("stolen"), NOW))!;
    await store.revokeUserToken(user.accountId, stolen.tokenId, CHANGE, ENTRY);
    await store.removeUser(user.accountId, bob.id, CHANGE, ENTRY);
    const [node] = await store.nodes(user.accountId, {});
    await store.deleteNode(user.accountId, node!.id, NOW, ENTRY);
    serials = await store.reserveSerials(1000, NOW);
  }
  const { carried, replaced } = await restoreTo(files.path, lines);
  assert.equal(replaced, `${files.path}.before-restore`);
  assert.ok(carried >= 2, `${carried} revocations`);
  await using store = await open(files.path);
  assert.ok(await store.userByToken(new Secret("kept"), NOW));
  assert.equal(await store.userByToken(new Secret("stolen"), NOW), undefined);
  assert.equal(await store.userByToken(new Secret("bob's"), NOW), undefined);
  assert.deepEqual(await store.nodes(user.accountId, {}), []);
  assert.ok(await store.reserveSerials(1, NOW) >= serials + 1000n);
});

Deno.test("STO-8: of a user revoked before and after the backup the later revocation holds", async () => {
  await using files = await scratch();
  let lines: string[], user: User, issuedBefore: number | undefined;
  {
    await using store = await open(files.path);
    user = await fill(store);
    const { accountId, id } = user;
    const revoke = (now: number) =>
      store.revoke({ accountId, kind: "user", id, by: "test", reason: "", now }, ENTRY);
    await revoke(NOW);
    lines = await backup(store);
    await revoke(NOW + 3600_000);
    issuedBefore = (await store.revocations(accountId)).revocations[0]!.issuedBefore;
  }
  assert.equal((await restoreTo(files.path, lines)).carried, 1);
  await using store = await open(files.path);
  const [one] = (await store.revocations(user.accountId)).revocations;
  assert.equal(one!.issuedBefore, issuedBefore);
});

Deno.test("STO-8: backups at once are each whole, and leave no file behind", async () => {
  await using files = await scratch();
  const folder = files.path.replace(/\/[^/]*$/, "");
  const there = () => [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();
  await using store = await open(files.path);
  await fill(store);
  const before = there();
  for (const suffix of ["", "-wal", "-shm"]) { // of a process that was killed
    await Deno.writeTextFile(`${files.path}.copy${suffix}`, "left over");
  }
  const backups = await Promise.allSettled([
    backup(store),
    backup(store, () => Promise.reject(new Error("the reader went away"))),
    backup(store),
    backup(store),
  ]);
  assert.deepEqual(backups.map(({ status }) => status), [
    "fulfilled",
    "rejected",
    "fulfilled",
    "fulfilled",
  ]);
  for (const made of backups) if (made.status === "fulfilled") await whole(made.value);
  assert.deepEqual(there(), before);
});

Deno.test("STO-8: a restore is refused while the control plane runs, and changes nothing", async () => {
  await using files = await scratch();
  await using store = await open(files.path);
  const user = await fill(store), lines = await backup(store);
  await assert.rejects(restoreTo(files.path, lines), { code: "conflict" });
  assert.equal((await store.nodes(user.accountId, {})).length, 1);
});

Deno.test("STO-8: a backup that is not whole restores nothing", async () => {
  await using one = await scratch();
  await using other = await scratch();
  await using store = await open(one.path);
  await fill(store);
  const lines = await backup(store);
  const at = lines.findIndex((line) => line.startsWith('["nodes"'));
  const broken: readonly (readonly string[])[] = [
    lines.slice(0, -1),
    [...lines.slice(0, at), ...lines.slice(at + 1)],
    [...lines.slice(0, at), lines[at]!.replace("mini", "maxi"), ...lines.slice(at + 1)],
    [...lines, lines[1]!],
    [lines[0]!, '["sqlite_master",{}]', ...lines.slice(1)],
    [lines[0]!.replace("001_first", "999_newer"), ...lines.slice(1)],
  ];
  for (const some of broken) {
    await assert.rejects(restoreTo(other.path, some), { code: "bad_file" });
    await assert.rejects(Deno.stat(other.path), Deno.errors.NotFound);
  }
  const newer = '{"openbox_backup":2,"created_at":1,"migrations":["a"],"extra":{}}';
  for (const text of ["", "{}", "not json", newer]) {
    await assert.rejects(whole([text]), { code: "bad_file" });
  }
  await restoreTo(other.path, lines);
});

const needed = requireComponent("postgres");
const postgres = needed.ignore ? undefined : sharedPostgres();

Deno.test(
  "STO-8: a backup from SQLite restores into an empty Postgres, and back",
  needed,
  async () => {
    await using one = await scratch();
    await using other = await scratch();
    let lines: string[], user: User;
    {
      await using store = await open(one.path);
      user = await fill(store);
      lines = await backup(store);
    }
    const dsn = parsePostgresDsn(
      postgres!().dsn(await postgres!().newDatabase(), "sslmode=disable"),
    );
    const into = async (some: readonly string[]) =>
      await restorePostgres(dsn, {
        backup: await whole(some),
        audit: RESTORE,
        carry: undefined,
        now: NOW,
      });
    assert.equal((await into(lines)).check.bad, undefined);
    await assert.rejects(into(lines), { code: "conflict" });
    let again: string[];
    {
      await using store = await openPostgresStore(dsn, { clock: systemClock });
      assert.deepEqual((await store.nodes(user.accountId, {})).map(({ tags }) => tags), [[
        "a",
        "b",
      ]]);
      assert.ok(await store.userByToken(new Secret("kept"), NOW));
      again = await backup(store, async () => void await enroll(store, user, "later"));
    }
    await restoreTo(other.path, again);
    await using store = await open(other.path);
    assert.deepEqual((await store.nodes(user.accountId, {})).map(({ name }) => name), ["mini"]);
    assert.equal((await store.verifyAudit({})).bad, undefined);
  },
);
