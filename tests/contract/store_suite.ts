/** What every store must do, whatever keeps it: run it with a way to open an empty one. */
import { ENTRY } from "../fixtures/audit_entry.ts";
import { revocationTests } from "./store_revocations.ts";
import assert from "node:assert/strict";
import { createSerials, SERIAL_BLOCK } from "../../src/control/serials.ts";
import { formatGrant, parseGrant } from "../../src/access/grant.ts";
import type { Code, OpenboxError } from "../../src/errors.ts";
import type { AuditRecord } from "../../src/store/audit.ts";
import { newNodeId } from "../../src/ids.ts";
import { Secret } from "../../src/secret.ts";
import type {
  CaStep,
  NewEnrollToken,
  Node,
  Registration,
  Store,
  User,
} from "../../src/store/store.ts";

const NOW = Date.UTC(2026, 0, 1), HOUR = 3600_000;

export function storeSuite(name: string, open: () => Promise<Store>): void {
  const test = (what: string, run: (store: Store, user: User) => Promise<void>) =>
    Deno.test(`${name}: ${what}`, async () => {
      await using store = await open();
      await run(store, await store.createAccount("me", NOW, ENTRY));
    });

  test("the first user is the one of the oldest account", async (store, user) => {
    const other = await store.createAccount("other", NOW + 1, ENTRY);
    assert.deepEqual(await store.firstUser(), user);
    assert.notEqual(other.accountId, user.accountId);
    assert.deepEqual(await store.usersNamed("other"), [other]);
    assert.deepEqual(await store.usersNamed("nobody"), []);
  });

  test("the first user is one who is there, of the account that is there", async (store, user) => {
    const { accountId } = user;
    await store.createAccount("other", NOW + 1, ENTRY);
    const change = { now: NOW, force: true, keepMade: false };
    const bob = await store.addUser({ accountId, name: "bob", now: NOW + 2 }, ENTRY);
    await store.removeUser(accountId, user.id, change, ENTRY);
    assert.deepEqual(await store.firstUser(), bob);
    await store.removeUser(accountId, bob.id, change, ENTRY);
    assert.equal(await store.firstUser(), undefined);
    const again = await store.ensureFirstUser("me", NOW + 3, ENTRY);
    assert.equal(again.accountId, accountId);
    assert.equal(await store.firstAccount(), accountId);
    assert.deepEqual(await store.firstUser(), again);
    assert.equal((await store.users(accountId, NOW))[0]!.rules.length, 3);
  });

  test("a user is known by a token until that ends", async (store, user) => {
    assert.equal(await store.hasUserToken(user), false);
    const token = new Secret("obx_a");
    const id = await store.addUserToken(user, userToken(token), ENTRY);
    assert.equal(await store.hasUserToken(user), true);
    const found = await store.userByToken(token, NOW);
    assert.deepEqual(found, {
      ...user,
      tokenId: id,
      tokenExpiresAt: NOW + HOUR,
      tokenLastUsedAt: undefined,
      rules: found!.rules,
      scopes: "all",
    });
    assert.deepEqual(found!.rules.map(({ name, grant }) => [name, formatGrant(grant)]), [
      ["admin", "admin"],
      ["read", "read"],
      ["run", "run"],
    ]);
    assert.equal((await store.userByToken(token, NOW + HOUR - 1))?.tokenLastUsedAt, NOW);
    assert.equal(await store.userByToken(token, NOW + HOUR), undefined);
    assert.equal(await store.userByToken(new Secret("obx_A"), NOW), undefined);
  });

  test("a token is added once", async (store, user) => {
    const token = new Secret("obx_a");
    await store.addUserToken(user, userToken(token), ENTRY);
    await refuses("conflict", store.addUserToken(user, userToken(token), ENTRY));
  });

  test("an enrollment token makes one node, with its tags in their order", async (store, user) => {
    await addEnrollToken(store, user, "s", ["b", "a"]);
    const node = await store.registerNode(registration("s"), ENTRY);
    assert.deepEqual(node.tags, ["b", "a"]);
    assert.equal(node.accountId, user.accountId);
    assert.deepEqual(await store.node(user.accountId, node.id), node);
    await refuses(
      "enroll_token_used",
      store.registerNode(registration("s", { hostKey: "k2" }), ENTRY),
    );
    assert.equal((await store.nodes(user.accountId, {})).length, 1);
  });

  test("ENR-1: of 60 callers with one enrollment token one wins", async (store, user) => {
    await addEnrollToken(store, user, "s");
    const outcomes = await Promise.allSettled(
      Array.from(
        { length: 60 },
        (_, i) => store.registerNode(registration("s", { hostKey: `k${i}` }), ENTRY),
      ),
    );
    const won = outcomes.filter(({ status }) => status === "fulfilled");
    const codes = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [(outcome.reason as OpenboxError).code] : []
    );
    assert.equal(won.length, 1);
    assert.deepEqual(codes, Array(59).fill("enroll_token_used"));
    assert.equal((await store.nodes(user.accountId, {})).length, 1);
  });

  test("an enrollment token that is unknown or over makes no node", async (store, user) => {
    await addEnrollToken(store, user, "s");
    await refuses("enroll_token_invalid", store.registerNode(registration("S"), ENTRY));
    await refuses(
      "enroll_token_invalid",
      store.registerNode(registration("s", { now: NOW + HOUR }), ENTRY),
    );
    assert.deepEqual(await store.nodes(user.accountId, {}), []);
  });

  test("a host key is one living node's, and a refusal spends nothing", async (store, user) => {
    const first = await enroll(store, user, "mini");
    await addEnrollToken(store, user, "again");
    await refuses(
      "conflict",
      store.registerNode(registration("again", { hostKey: "key of mini" }), ENTRY),
    );
    await store.deleteNode(user.accountId, first.id, NOW, ENTRY);
    const second = await store.registerNode(
      registration("again", { hostKey: "key of mini" }),
      ENTRY,
    );
    assert.notEqual(second.id, first.id);
  });

  test("a node is listed by name, then id, and by tag exactly", async (store, user) => {
    const b = await enroll(store, user, "b", ["a%"]), a = await enroll(store, user, "a", ["ab"]);
    const twins = [await enroll(store, user, "c"), await enroll(store, user, "c", [], "other key")];
    const names = (nodes: readonly Node[]) => nodes.map(({ id }) => id);
    assert.deepEqual(names(await store.nodes(user.accountId, {})), [
      a.id,
      b.id,
      ...twins.map(({ id }) => id).sort(),
    ]);
    assert.deepEqual(names(await store.nodes(user.accountId, { tag: "a%" })), [b.id]);
    for (const tag of ["a", "a_", "%", "' or 1=1 --", "AB"]) {
      assert.deepEqual(await store.nodes(user.accountId, { tag }), [], tag);
    }
    assert.deepEqual(await store.tags(user.accountId), ["a%", "ab"]);
  });

  test("an update is the whole of what a person sets", async (store, user) => {
    const node = await enroll(store, user, "mini", ["a", "b"]);
    const updated = await store.updateNode(user.accountId, node.id, {
      name: "maxi",
      tags: ["c", "a"],
    }, ENTRY);
    assert.deepEqual(updated, { ...node, name: "maxi", tags: ["c", "a"] });
    assert.deepEqual(await store.tags(user.accountId), ["a", "c"]);
    assert.equal(
      await store.updateNode(user.accountId, "node_x", { name: "n", tags: [] }, ENTRY),
      undefined,
    );
  });

  test("a deleted node is gone, and its token still tells who it was", async (store, user) => {
    const node = await enroll(store, user, "mini", ["a"]);
    assert.equal(await store.deleteNode(user.accountId, node.id, NOW + 5, ENTRY), true);
    assert.equal(await store.deleteNode(user.accountId, node.id, NOW + 6, ENTRY), false);
    assert.equal(await store.node(user.accountId, node.id), undefined);
    assert.deepEqual(await store.tags(user.accountId), []);
    assert.deepEqual(await store.candidates(user.accountId, { kind: "any" }), []);
    assert.deepEqual(await store.candidates(user.accountId, { kind: "node", node: node.id }), []);
    assert.equal((await store.nodeByToken(new Secret("token of mini")))?.deletedAt, NOW + 5);
    const rest = { name: "x", tags: [] };
    assert.equal(await store.updateNode(user.accountId, node.id, rest, ENTRY), undefined);
  });

  test("a beat is seen at once, and what it changes is kept", async (store, user) => {
    const { id } = await enroll(store, user, "mini");
    const token = new Secret("token of mini");
    const before = (await store.nodeByToken(token))!;
    assert.equal((await store.node(user.accountId, id))?.lastSeenAt, 0);
    const beat = { addr: "10.0.0.2:7600", version: "1", bootId: "boot_1", now: NOW + 9 };
    await store.recordBeat(before, beat);
    const after = (await store.nodeByToken(token))!;
    assert.deepEqual([after.addr, after.version, after.bootId], ["10.0.0.2:7600", "1", "boot_1"]);
    await store.recordBeat(after, {
      addr: undefined,
      version: undefined,
      bootId: undefined,
      now: NOW + 10,
    });
    assert.deepEqual(await store.nodeByToken(token), after);
    assert.equal((await store.node(user.accountId, id))?.lastSeenAt, NOW + 10);
    const [candidate] = await store.candidates(user.accountId, { kind: "any" });
    assert.equal(candidate?.lastSeenAt, NOW + 10);
    assert.equal(candidate?.addr, "10.0.0.2:7600");
    await store.flush();
    assert.equal((await store.node(user.accountId, id))?.lastSeenAt, NOW + 10);
  });

  test("a new user has his rules, one name, and a place among the others", async (store, me) => {
    const { accountId } = me, by = { createdBy: me.id, now: NOW };
    const bob = await store.addUser({ accountId, name: "bob", ...by }, ENTRY);
    const ci = await store.addUser(
      { accountId, name: "ci", rules: [parseGrant("run:tag=ci")], ...by },
      ENTRY,
    );
    await refuses("conflict", store.addUser({ accountId, name: "bob", ...by }, ENTRY));
    assert.deepEqual(await store.user(accountId, "bob"), bob);
    assert.deepEqual(await store.user(accountId, ci.id), ci);
    assert.equal(await store.user(accountId, "nobody"), undefined);
    const listed = (await store.users(accountId, NOW)).map(({ name, rules }) => [
      name,
      rules.map(({ grant }) => grant).join(),
    ]);
    assert.deepEqual(listed, [["bob", "read,run"], ["ci", "run:tag=ci"], ["me", "admin,read,run"]]);
  });

  test("a rule has a name that is its user's only one", async (store, user) => {
    const add = (grant: string, name?: string) =>
      store.addRule({ user, grant: parseGrant(grant), name, now: NOW + 1 }, ENTRY);
    assert.equal((await add("run:tag=a")).name, "run-2");
    assert.equal((await add("run:tag=b")).name, "run-3");
    const rule = await add("run:tag=c", "nightly");
    await refuses("conflict", add("run:tag=d", "nightly"));
    const change = { now: NOW, force: false, keepMade: false };
    assert.equal(await store.removeRule(user.accountId, rule.id, change, ENTRY), true);
    assert.equal(await store.removeRule(user.accountId, rule.id, change, ENTRY), false);
    assert.equal((await store.rules(user.accountId, user.id)).length, 5);
  });

  test("a token has the scopes that it was made with", async (store, user) => {
    const token = new Secret("obx_ci"), scopes = [parseGrant("run:tag=ci"), parseGrant("read")];
    const id = await store.addUserToken(user, { ...userToken(token), scopes }, ENTRY);
    assert.deepEqual((await store.userByToken(token, NOW))?.scopes, scopes);
    const listed = await store.userTokens(user.accountId, user.id, NOW + 1);
    assert.deepEqual(listed.map(({ scopes, lastUsedAt }) => [scopes, lastUsedAt]), [
      [["run:tag=ci", "read"], NOW],
    ]);
    assert.equal((await store.userToken(user.accountId, id, NOW))?.userName, "me");
    assert.equal(await store.userToken(user.accountId, id, NOW + HOUR), undefined, "over");
  });

  test("TOK-6: with a token goes what was made with it, and with that", async (store, user) => {
    const add = async (name: string, madeWith?: string) =>
      await store.addUserToken(
        user,
        { ...userToken(new Secret(name)), madeWith, expiresAt: NOW + 9 * HOUR },
        ENTRY,
      );
    const keep = await add("keep"), stolen = await add("stolen");
    const child = await add("child", stolen), grandchild = await add("grandchild", child);
    await store.addEnrollToken({
      ...enrollToken(user, "planted"),
      madeWith: grandchild,
      uses: 100,
    }, ENTRY);
    const change = { now: NOW + 1, force: false, keepMade: false };
    assert.equal(await store.revokeUserToken(user.accountId, stolen, change, ENTRY), true);
    assert.equal(await store.revokeUserToken(user.accountId, stolen, change, ENTRY), false);
    for (const name of ["stolen", "child", "grandchild"]) {
      assert.equal(await store.userByToken(new Secret(name), NOW), undefined, name);
    }
    await refuses("enroll_token_invalid", store.registerNode(registration("planted"), ENTRY));
    await refuses("unauthorized", add("late", grandchild));
    const left = await store.userTokens(user.accountId, undefined, NOW);
    assert.deepEqual(left.map(({ id }) => id), [keep]);
  });

  test(
    "TOK-6: what a token made can stay without it, and goes with the one before",
    async (store, user) => {
      const add = async (name: string, madeWith?: string) =>
        await store.addUserToken(
          user,
          { ...userToken(new Secret(name)), madeWith, expiresAt: NOW + 9 * HOUR },
          ENTRY,
        );
      await add("keep");
      const stolen = await add("stolen"), between = await add("between", stolen);
      await add("child", between);
      const good = async (name: string) =>
        await store.userByToken(new Secret(name), NOW) !== undefined;
      const change = { now: NOW + 1, force: false };
      const keep = { ...change, keepMade: true };
      assert.equal(await store.revokeUserToken(user.accountId, between, keep, ENTRY), true);
      assert.deepEqual([await good("between"), await good("child")], [false, true]);
      const go = { ...change, keepMade: false };
      assert.equal(await store.revokeUserToken(user.accountId, stolen, go, ENTRY), true);
      assert.equal(await good("child"), false, "it did not get free of the stolen one");
    },
  );

  test("a user has a hundred tokens, those that are over not counted", async (store, user) => {
    const first = await store.addUserToken(user, userToken(new Secret("first")), ENTRY);
    const add = (i: number, more: object = {}) =>
      store.addUserToken(
        user,
        { ...userToken(new Secret(`t${i}`)), madeWith: first, ...more },
        ENTRY,
      );
    const ids: string[] = [];
    for (let i = 0; i < 99; i++) ids.push(await add(i, { expiresAt: NOW + HOUR + i }));
    await refuses("quota", add(100));
    await add(100, { madeWith: undefined }); // by openbox itself, for who is locked out
    await store.revokeUserToken(
      user.accountId,
      ids[6]!,
      { now: NOW, force: false, keepMade: false },
      ENTRY,
    );
    await store.revokeUserToken(user.accountId, ids[5]!, {
      now: NOW,
      force: false,
      keepMade: false,
    }, ENTRY);
    await add(101);
    await refuses("quota", add(102));
    await add(103, { createdAt: NOW + HOUR, expiresAt: NOW + 2 * HOUR });
  });

  test("a removed user is gone with all that was his, and his name is free", async (store, me) => {
    const { accountId } = me, by = { createdBy: me.id, now: NOW };
    await store.addUserToken(me, userToken(new Secret("admin")), ENTRY);
    const bob = await store.addUser({ accountId, name: "bob", ...by }, ENTRY);
    const token = new Secret("bob's");
    await store.addUserToken(bob, userToken(token), ENTRY);
    await store.addEnrollToken(enrollToken(bob, "bob's node"), ENTRY);
    const { id: nodeId } = await enroll(store, me, "a");
    await store.bindSession(bob, "build", { nodeId, isolation: "native" }, NOW, ENTRY);
    const change = { now: NOW + 1, force: false, keepMade: false };
    assert.equal(await store.removeUser(accountId, bob.id, change, ENTRY), true);
    assert.equal(await store.removeUser(accountId, bob.id, change, ENTRY), false);
    assert.equal(await store.userByToken(token, NOW), undefined);
    assert.deepEqual(await store.rules(accountId, bob.id), []);
    await refuses("enroll_token_invalid", store.registerNode(registration("bob's node"), ENTRY));
    const node = (await store.nodeByToken(new Secret("token of a")))!;
    const report = { userId: bob.id, name: "build", idleMs: 0, lastExit: 0 } as const;
    assert.deepEqual(await store.recordSessions(node, [{ ...report, state: "idle" }], NOW, ENTRY), [
      { userId: bob.id, name: "build" },
    ]);
    const again = await store.addUser({ accountId, name: "bob", ...by }, ENTRY);
    assert.notEqual(again.id, bob.id);
    assert.equal(await store.userByToken(token, NOW), undefined);
  });

  test(
    "TOK-6: what a removed user's tokens made can stay, enrollment tokens too",
    async (store, me) => {
      const { accountId } = me, by = { createdBy: me.id, now: NOW };
      const bob = await store.addUser({ accountId, name: "bob", ...by }, ENTRY);
      const madeWith = await store.addUserToken(bob, userToken(new Secret("bob's")), ENTRY);
      await store.addEnrollToken(enrollToken(bob, "first"), ENTRY);
      await store.addEnrollToken({ ...enrollToken(bob, "second"), madeWith }, ENTRY);
      const change = { now: NOW + 1, force: true, keepMade: true };
      assert.equal(await store.removeUser(accountId, bob.id, change, ENTRY), true);
      assert.equal(await store.userByToken(new Secret("bob's"), NOW), undefined);
      assert.equal((await store.enrollTokens(accountId, NOW)).length, 2);
      assert.ok(await store.registerNode(registration("second"), ENTRY));
    },
  );

  test("TOK-13: the last who may do everything stays, unless it is forced", async (store, me) => {
    const { accountId } = me, by = { createdBy: me.id, now: NOW };
    const change = { now: NOW, force: false, keepMade: false };
    const mine = await store.addUserToken(me, userToken(new Secret("a")), ENTRY);
    const scopes = [parseGrant("read")];
    const narrow = await store.addUserToken(me, { ...userToken(new Secret("b")), scopes }, ENTRY);
    const admin = (await store.rules(accountId, me.id)).find(({ grant }) => grant === "admin")!;
    await refuses("conflict", store.revokeUserToken(accountId, mine, change, ENTRY));
    await refuses("conflict", store.removeRule(accountId, admin.id, change, ENTRY));
    await refuses("conflict", store.removeUser(accountId, me.id, change, ENTRY));
    assert.ok(await store.userByToken(new Secret("a"), NOW), "nothing was changed");
    assert.equal(await store.revokeUserToken(accountId, narrow, change, ENTRY), true);

    const bob = await store.addUser({ accountId, name: "bob", ...by }, ENTRY);
    await store.addRule({ user: bob, grant: parseGrant("admin"), now: NOW }, ENTRY);
    await refuses("conflict", store.removeUser(accountId, me.id, change, ENTRY)); // no token yet
    const his = await store.addUserToken(bob, userToken(new Secret("c")), ENTRY);
    const outcomes = await Promise.allSettled([
      store.revokeUserToken(accountId, mine, change, ENTRY),
      store.revokeUserToken(accountId, his, change, ENTRY),
    ]);
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);

    const left = (await store.userTokens(accountId, undefined, NOW))[0]!;
    const forced = { now: NOW, force: true, keepMade: false };
    assert.equal(await store.removeUser(accountId, left.userId, forced, ENTRY), true);
    const other = left.userId === me.id ? bob : me;
    assert.equal(await store.ensureAdmin(other, NOW, ENTRY), false, "he is one still");
  });

  test("an account whose admins are gone gets one back", async (store, me) => {
    const admin = (await store.rules(me.accountId, me.id)).find(({ grant }) => grant === "admin")!;
    await store.removeRule(
      me.accountId,
      admin.id,
      { now: NOW, force: true },
      ENTRY,
    );
    assert.equal(await store.ensureAdmin(me, NOW, ENTRY), true);
    assert.equal(await store.ensureAdmin(me, NOW, ENTRY), false);
    const rules = await store.rights(me);
    assert.ok(rules.rules.some(({ grant }) => grant.verb === "admin"));
  });

  test("TOK-7: another account's users, rules and tokens are not there", async (store, me) => {
    const stranger = await store.createAccount("stranger", NOW, ENTRY), { accountId } = stranger;
    const token = await store.addUserToken(me, userToken(new Secret("mine")), ENTRY);
    const enrollment = await store.addEnrollToken(enrollToken(me, "mine"), ENTRY);
    const [rule] = await store.rules(me.accountId, me.id);
    const change = { now: NOW, force: true, keepMade: false };
    assert.deepEqual((await store.users(accountId, NOW)).map(({ id }) => id), [stranger.id]);
    assert.equal(await store.user(accountId, me.id), undefined);
    assert.equal(await store.user(accountId, "me"), undefined);
    assert.deepEqual(await store.rules(accountId, me.id), []);
    assert.deepEqual(await store.userTokens(accountId, me.id, NOW), []);
    assert.equal(await store.userToken(accountId, token, NOW), undefined);
    assert.deepEqual(await store.enrollTokens(accountId, NOW), []);
    assert.equal(await store.removeUser(accountId, me.id, change, ENTRY), false);
    assert.equal(await store.removeRule(accountId, rule!.id, change, ENTRY), false);
    assert.equal(await store.revokeUserToken(accountId, token, change, ENTRY), false);
    assert.equal(await store.revokeEnrollToken(accountId, enrollment, NOW, ENTRY), false);
    assert.ok(await store.userByToken(new Secret("mine"), NOW));
  });

  test(
    "ENR-1: a token for five nodes makes five, of sixty who come at once",
    async (store, user) => {
      await store.addEnrollToken({ ...enrollToken(user, "s"), uses: 5 }, ENTRY);
      const outcomes = await Promise.allSettled(
        Array.from(
          { length: 60 },
          (_, i) => store.registerNode(registration("s", { hostKey: `k${i}` }), ENTRY),
        ),
      );
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 5);
      await refuses("enroll_token_used", store.registerNode(registration("s"), ENTRY));
      assert.deepEqual(await store.enrollTokens(user.accountId, NOW), []);
    },
  );

  test("ENR-2: a revoked token makes no node, and is listed no more", async (store, user) => {
    const id = await store.addEnrollToken({ ...enrollToken(user, "s"), uses: 5 }, ENTRY);
    await store.registerNode(registration("s"), ENTRY);
    const [listed] = await store.enrollTokens(user.accountId, NOW);
    assert.deepEqual([listed?.id, listed?.uses, listed?.usesLeft], [id, 5, 4]);
    assert.equal(await store.revokeEnrollToken(user.accountId, id, NOW, ENTRY), true);
    assert.equal(await store.revokeEnrollToken(user.accountId, id, NOW, ENTRY), false);
    await refuses(
      "enroll_token_invalid",
      store.registerNode(registration("s", { hostKey: "k" }), ENTRY),
    );
    assert.deepEqual(await store.enrollTokens(user.accountId, NOW), []);
  });

  test("an ephemeral node goes when nothing was heard of it for its time", async (store, user) => {
    const enrollment = { ...enrollToken(user, "s"), uses: 9, ephemeralMs: 10 * 60_000 };
    await store.addEnrollToken(enrollment, ENTRY);
    const join = async (name: string) => {
      const nodeToken = new Secret(`token of ${name}`);
      const more = { name, hostKey: `key of ${name}`, nodeToken };
      const { id } = await store.registerNode(registration("s", more), ENTRY);
      return { id, node: (await store.nodeByToken(nodeToken))! };
    };
    const silent = await join("silent"), loud = await join("loud");
    const stays = await enroll(store, user, "stays");
    const minutes = (n: number) => NOW + n * 60_000;
    const beat = { addr: undefined, version: undefined, bootId: undefined };
    await store.recordBeat(silent.node, { ...beat, now: minutes(1) });
    await store.recordBeat(loud.node, { ...beat, now: minutes(11) });
    const expire = (now: number, listeningSince = NOW) =>
      store.expireNodes({ now, listeningSince }, { ...ENTRY, action: "node.expire" });
    assert.deepEqual(await expire(minutes(11)), []);
    assert.deepEqual(await expire(minutes(12), minutes(5)), [], "nobody was there to hear it");
    const { seq } = await store.auditHead();
    assert.deepEqual((await Promise.all([expire(minutes(12)), expire(minutes(12))])).flat(), [
      silent.id,
    ]);
    const told = await store.auditRecords(user.accountId, { after: seq, limit: 9 });
    assert.deepEqual(told.map(({ action, subject }) => [action, subject]), [
      ["node.expire", silent.id],
    ]);
    const left = (await store.nodes(user.accountId, {})).map(({ name }) => name);
    assert.deepEqual(left, ["loud", "stays"]);
    assert.equal((await store.node(user.accountId, loud.id))?.ephemeralMs, 10 * 60_000);
    assert.equal((await store.node(user.accountId, stays.id))?.ephemeralMs, undefined);
    assert.ok((await store.nodeByToken(new Secret("token of silent")))?.deletedAt);
    const again = registration("s", { name: "silent", hostKey: "key of silent" });
    assert.ok((await store.registerNode(again, ENTRY)).id, "its name and its key are free");
  });

  test("which nodes have which of some tags", async (store, user) => {
    const a = await enroll(store, user, "a", ["x", "y"]), b = await enroll(store, user, "b", ["y"]);
    const found = await store.tagged(user.accountId, ["x", "y", "z"]);
    assert.deepEqual([...found.get(a.id)!].sort(), ["x", "y"]);
    assert.deepEqual(found.get(b.id), ["y"]);
    assert.equal((await store.tagged(user.accountId, [])).size, 0);
  });

  test("nodes are counted over all accounts, removed ones not", async (store, user) => {
    assert.deepEqual(await store.countNodes(0), { total: 0, heard: 0 });
    const stranger = await store.createAccount("stranger", NOW, ENTRY);
    const heard = await enroll(store, user, "heard"), gone = await enroll(store, user, "gone");
    await enroll(store, stranger, "silent");
    const node = (await store.nodeByToken(new Secret("token of heard")))!;
    const beat = { addr: undefined, version: undefined, bootId: undefined, now: NOW + 9 };
    await store.recordBeat(node, beat);
    await store.flush();
    await store.deleteNode(user.accountId, gone.id, NOW, ENTRY);
    assert.equal(node.id, heard.id);
    assert.deepEqual(await store.countNodes(NOW + 9), { total: 2, heard: 1 });
    assert.deepEqual(await store.countNodes(NOW + 10), { total: 2, heard: 0 });
  });

  test("the newest host certificate is remembered", async (store, user) => {
    const { id } = await enroll(store, user, "mini");
    const token = new Secret("token of mini");
    assert.equal((await store.nodeByToken(token))?.hostCert, undefined);
    const cert = { serial: 7n, validAfter: NOW, validBefore: NOW + HOUR };
    await store.recordHostCert(user.accountId, id, cert, ENTRY);
    assert.deepEqual((await store.nodeByToken(token))?.hostCert, cert);
  });

  test("ROT-3: each step of the CA is taken once, and all see it", async (store) => {
    const step = (seq: number, statement?: string): CaStep => (
      { kind: "user", seq, step: "init", statement, at: NOW }
    );
    const before = await store.caVersion();
    const both = await Promise.allSettled([
      store.addCaSteps([step(1, "a")], undefined, ENTRY),
      store.addCaSteps([step(1, "b")], undefined, ENTRY),
    ]);
    assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    const after = await store.caVersion();
    assert.notEqual(after, before);
    const [taken, ...more] = await store.caSteps();
    assert.equal(more.length, 0);
    assert.ok(["a", "b"].includes(taken!.statement!));
    // all of them or none
    const host: CaStep = { ...step(1), kind: "host" };
    await refuses("conflict", store.addCaSteps([host, step(1)], undefined, ENTRY));
    assert.equal((await store.caSteps()).length, 1);
    assert.equal(await store.caVersion(), after);
    await store.addCaSteps([host, step(2)], undefined, ENTRY);
    assert.deepEqual((await store.caSteps()).map(({ kind, seq }) => [kind, seq]), [
      ["host", 1],
      ["user", 1],
      ["user", 2],
    ]);
  });

  test("ROT-8: of many first texts of the CA one is kept, and only who knows it replaces it", async (store) => {
    assert.equal(await store.caText(), undefined);
    const tried = await Promise.all(
      Array.from(
        { length: 10 },
        (_, i) => store.putCaText({ version: 0, text: `text ${i}` }, ENTRY),
      ),
    );
    assert.equal(tried.filter(Boolean).length, 1);
    const { version, text } = (await store.caText())!;
    assert.deepEqual([version, text], [1, `text ${tried.indexOf(true)}`]);
    const seen = await store.caVersion();
    assert.equal(await store.putCaText({ version: 1, text: "second" }, ENTRY), true);
    assert.notEqual(await store.caVersion(), seen);
    assert.equal(await store.putCaText({ version: 1, text: "late" }, ENTRY), false);
    const step: CaStep = { kind: "host", seq: 1, step: "init", statement: "s", at: NOW };
    await refuses("conflict", store.addCaSteps([step], { version: 1, text: "late" }, ENTRY));
    assert.deepEqual(await store.caSteps(), [], "nor the step that went with it");
    await store.addCaSteps([step], { version: 2, text: "third" }, ENTRY);
    assert.deepEqual(await store.caText(), { version: 3, text: "third" });
  });

  test("what a node knows of the CA is kept with it", async (store, user) => {
    const { id } = await enroll(store, user, "mini");
    const node = (await store.nodeByToken(new Secret("token of mini")))!;
    assert.deepEqual([node.caAcknowledged, node.certHeld], [undefined, undefined]);
    const beat = { addr: undefined, version: undefined, bootId: undefined, now: NOW };
    await store.recordBeat(node, { ...beat, caAcknowledged: "SHA256:u", certHeld: "SHA256:h" });
    await store.recordBeat(node, beat); // which says nothing of it
    const known = { caAcknowledged: "SHA256:u", certHeld: "SHA256:h" };
    assert.deepEqual(await store.caNodes(), [{ id, name: "mini", lastSeenAt: NOW, ...known }]);
    const [candidate] = await store.candidates(user.accountId, { kind: "any" });
    assert.deepEqual([candidate!.caAcknowledged, candidate!.certHeld], ["SHA256:u", "SHA256:h"]);
    const wanted = { nodeId: id, isolation: "native" };
    const { node: bound } = await store.bindSession(user, "s", wanted, NOW, ENTRY);
    assert.deepEqual([bound.caAcknowledged, bound.certHeld], ["SHA256:u", "SHA256:h"]);
    const cert = { serial: 7n, validAfter: NOW, validBefore: NOW + HOUR, authority: "SHA256:h" };
    await store.recordHostCert(user.accountId, id, cert, ENTRY);
    assert.deepEqual((await store.nodeByToken(new Secret("token of mini")))!.hostCert, cert);
    await store.deleteNode(user.accountId, id, NOW, ENTRY);
    assert.deepEqual(await store.caNodes(), []);
  });

  test("a target finds by tag, id or name", async (store, user) => {
    const a = await enroll(store, user, "a", ["x"]), b = await enroll(store, user, "b", ["x", "y"]);
    const ids = async (target: Parameters<Store["candidates"]>[1]) =>
      (await store.candidates(user.accountId, target)).map(({ id }) => id).sort();
    assert.deepEqual(await ids({ kind: "any" }), [a.id, b.id].sort());
    assert.deepEqual(await ids({ kind: "tag", tag: "x" }), [a.id, b.id].sort());
    assert.deepEqual(await ids({ kind: "tag", tag: "y" }), [b.id]);
    assert.deepEqual(await ids({ kind: "node", node: "a" }), [a.id]);
    assert.deepEqual(await ids({ kind: "node", node: b.id }), [b.id]);
    assert.deepEqual(await ids({ kind: "node", node: "A" }), []);
  });

  test("TOK-7: another account's nodes are not there", async (store, user) => {
    const mine = await enroll(store, user, "mini", ["a"]);
    const stranger = await store.createAccount("stranger", NOW, ENTRY);
    const { accountId } = stranger;
    assert.deepEqual(await store.nodes(accountId, {}), []);
    assert.deepEqual(await store.nodes(accountId, { tag: "a" }), []);
    assert.equal(await store.node(accountId, mine.id), undefined);
    assert.equal(
      await store.updateNode(accountId, mine.id, { name: "x", tags: [] }, ENTRY),
      undefined,
    );
    assert.equal(await store.deleteNode(accountId, mine.id, NOW, ENTRY), false);
    for (
      const target of [
        { kind: "any" },
        { kind: "tag", tag: "a" },
        { kind: "node", node: mine.id },
        { kind: "node", node: "mini" },
      ] as const
    ) {
      assert.deepEqual(await store.candidates(accountId, target), []);
    }
    assert.deepEqual(await store.tags(accountId), []);
    assert.equal(await store.hasUserToken(stranger), false);
    await store.recordHostCert(
      accountId,
      mine.id,
      { serial: 1n, validAfter: 0, validBefore: 1 },
      ENTRY,
    );
    assert.equal((await store.nodeByToken(new Secret("token of mini")))?.hostCert, undefined);
    assert.deepEqual(await store.node(user.accountId, mine.id), mine);
  });

  test("SEQ-2: of callers at once all get the session's one node", async (store, user) => {
    const nodes = [await enroll(store, user, "a"), await enroll(store, user, "b")];
    const bound = await Promise.all(Array.from({ length: 20 }, (_, i) =>
      store.bindSession(
        user,
        "build",
        { nodeId: nodes[i % 2]!.id, isolation: i % 2 ? "native" : "docker:x" },
        NOW,
        ENTRY,
      )));
    assert.equal(bound.filter(({ created }) => created).length, 1);
    assert.equal(new Set(bound.map(({ node, isolation }) => `${node.id} ${isolation}`)).size, 1);
    const { node, isolation } = bound[0]!;
    assert.deepEqual(await store.binding(user, "build", NOW + 1), { node, isolation });
    assert.equal(await store.binding(user, "Build", NOW + 1), undefined);
  });

  test("SEQ-16: a session is its user's alone", async (store, user) => {
    const node = await enroll(store, user, "a");
    const stranger = await store.createAccount("stranger", NOW, ENTRY);
    await store.bindSession(user, "build", { nodeId: node.id, isolation: "native" }, NOW, ENTRY);
    assert.equal(await store.binding(stranger, "build", NOW), undefined);
    assert.deepEqual(await store.sessions(stranger), []);
    assert.equal(
      await store.unbindSession(stranger, "build", { ended: true, now: NOW }, ENTRY),
      false,
    );
    const place = { nodeId: node.id, isolation: "native" };
    await refuses("node_not_found", store.bindSession(stranger, "mine", place, NOW, ENTRY));
  });

  test("what a node says of its sessions is listed, the last used first", async (store, user) => {
    const { id: nodeId } = await enroll(store, user, "a");
    const node = (await store.nodeByToken(new Secret("token of a")))!;
    for (const name of ["old", "new"]) {
      await store.bindSession(user, name, { nodeId, isolation: "native" }, NOW, ENTRY);
    }
    const report = { userId: user.id, lastExit: 3, state: "idle" } as const;
    await store.recordSessions(
      node,
      [
        { ...report, name: "old", idleMs: 50_000 },
        { ...report, name: "new", idleMs: 10_000 },
      ],
      NOW + HOUR,
      ENTRY,
    );
    const listed = await store.sessions(user);
    assert.deepEqual(
      listed.map(({ name, state, lastExit, lastUsedAt }) => [name, state, lastExit, lastUsedAt]),
      [["new", "idle", 3, NOW + HOUR - 10_000], ["old", "idle", 3, NOW + HOUR - 50_000]],
    );
    await store.recordSessions(
      node,
      [{ ...report, name: "new", idleMs: 0 }],
      NOW + 2 * HOUR,
      ENTRY,
    );
    assert.deepEqual((await store.sessions(user)).map(({ state }) => state), ["idle", "ended"]);
  });

  test("a session that has ended is listed for a day", async (store, user) => {
    const { id: nodeId } = await enroll(store, user, "a");
    const node = (await store.nodeByToken(new Secret("token of a")))!;
    await store.bindSession(user, "build", { nodeId, isolation: "native" }, NOW, ENTRY);
    const report = { userId: user.id, name: "build", idleMs: 0, lastExit: 0 } as const;
    await store.recordSessions(node, [{ ...report, state: "idle" }], NOW, ENTRY);
    const namesAfter = async (ms: number) => {
      await store.recordSessions(node, [], NOW + ms, ENTRY);
      return (await store.sessions(user)).map(({ name }) => name);
    };
    assert.deepEqual(await namesAfter(1), ["build"]);
    assert.deepEqual(await namesAfter(24 * HOUR), ["build"]);
    assert.deepEqual(await namesAfter(24 * HOUR + 1), []);
  });

  test("SES-14: a user has a thousand sessions, ended ones not counted", async (store, user) => {
    const { id: nodeId } = await enroll(store, user, "a");
    const node = (await store.nodeByToken(new Secret("token of a")))!;
    const bind = (name: string) =>
      store.bindSession(user, name, { nodeId, isolation: "native" }, NOW, ENTRY);
    const lost = Array.from({ length: 999 }, (_, i) => `s${i}`);
    const names = [...lost, "over"];
    // they wait for each other in the database, and each has a few seconds
    for (let i = 0; i < names.length; i += 5) {
      await Promise.all(names.slice(i, i + 5).map(bind));
    }
    const report = { userId: user.id, idleMs: 0, lastExit: 0, state: "lost" } as const;
    await store.recordSessions(
      node,
      [...lost, "over"].map((name) => ({ ...report, name })),
      NOW,
      ENTRY,
    );
    await refuses("quota", bind("more"));
    assert.equal((await store.sessions(user)).length, 1000);
    await store.recordSessions(node, lost.map((name) => ({ ...report, name })), NOW, ENTRY);
    assert.equal((await bind("more")).created, true);
    assert.equal((await store.sessions(user)).some(({ name }) => name === "over"), false);
  });

  test(
    "SES-17: a session unbound while it lives is named until its node has ended it",
    async (store, user) => {
      const { id: nodeId } = await enroll(store, user, "a");
      const node = (await store.nodeByToken(new Secret("token of a")))!;
      const place = { nodeId, isolation: "native" };
      await store.bindSession(user, "build", place, NOW, ENTRY);
      assert.equal(
        await store.unbindSession(user, "build", { ended: false, now: NOW }, ENTRY),
        true,
      );
      await refuses("conflict", store.bindSession(user, "build", place, NOW, ENTRY));
      const mine = { userId: user.id, name: "build" };
      const report = { ...mine, idleMs: 0, lastExit: undefined, state: "busy" } as const;
      assert.deepEqual(await store.recordSessions(node, [report], NOW, ENTRY), [mine]);
      assert.deepEqual(await store.recordSessions(node, [report], NOW, ENTRY), [mine]);
      assert.deepEqual(await store.recordSessions(node, [], NOW, ENTRY), []);
      assert.equal((await store.bindSession(user, "build", place, NOW, ENTRY)).created, true);
    },
  );

  test("CERT-29: two allocators never give one serial twice", async (store) => {
    const allocators = [0, 1].map(() => createSerials((count) => store.reserveSerials(count, NOW)));
    const wanted = 10 * SERIAL_BLOCK + 1;
    const given = await Promise.all(
      Array.from({ length: wanted }, (_, i) => allocators[i % 2]!()),
    );
    assert.equal(new Set(given).size, wanted);
    assert.ok(given.every((serial) => serial > 0n));
  });

  test("a store that answers says so", (store) => store.ping());

  test("a change is told in the record behind the one before", async (store, user) => {
    const { seq } = await store.auditHead();
    await addEnrollToken(store, user, "s", ["ci"]);
    const node = await store.registerNode(registration("s"), { ...ENTRY, action: "node.enroll" });
    const records = await store.auditRecords(user.accountId, { after: seq, limit: 10 });
    assert.deepEqual(records.map((record) => record.seq), [seq + 1, seq + 2]);
    const { accountId, action, subject, outcome, actor } = records[1]!;
    assert.deepEqual({ accountId, action, subject, outcome, actor }, {
      accountId: user.accountId,
      action: "node.enroll",
      subject: node.id,
      outcome: "allowed",
      actor: "test",
    });
  });

  test("what a node tells of its runs twice at once is on record once", async (store, user) => {
    await enroll(store, user, "a");
    const node = (await store.nodeByToken(new Secret("token of a")))!;
    const { seq } = await store.auditHead();
    for (let round = 0; round < 10; round++) {
      const events = Array.from({ length: 5 }, (_, i) => {
        const n = 5 * round + i + 1;
        return { n, entry: { ...ENTRY, action: "run.start", subject: `run ${n}` } as const };
      });
      await Promise.all([1, 2, 3].map(() => store.recordRunEvents(node, "spool", events)));
    }
    const told = await store.auditRecords(user.accountId, { after: seq, limit: 1000 });
    assert.deepEqual(
      told.map(({ subject }) => subject),
      Array.from({ length: 50 }, (_, i) => `run ${i + 1}`),
    );
  });

  test("a session whose end two beats tell at once is told once", async (store, user) => {
    const { id: nodeId } = await enroll(store, user, "a");
    const node = (await store.nodeByToken(new Secret("token of a")))!;
    const names = Array.from({ length: 10 }, (_, i) => `s${i}`);
    for (const name of names) {
      await store.bindSession(user, name, { nodeId, isolation: "native" }, NOW, ENTRY);
      const report = { userId: user.id, name, idleMs: 0, lastExit: 0, state: "idle" } as const;
      await store.recordSessions(node, [report], NOW, ENTRY);
      const { seq } = await store.auditHead();
      await Promise.all([1, 2, 3].map(() => store.recordSessions(node, [], NOW, ENTRY)));
      const told = await store.auditRecords(user.accountId, { after: seq, limit: 100 });
      assert.deepEqual(told.map(({ action, subject }) => [action, subject]), [[
        "session.end",
        name,
      ]]);
    }
  });

  test("what changed nothing is not told", async (store, user) => {
    const before = await store.auditHead();
    assert.equal(await store.deleteNode(user.accountId, newNodeId(), NOW, ENTRY), false);
    await refuses("enroll_token_invalid", store.registerNode(registration("none"), ENTRY));
    assert.equal(await store.unbindSession(user, "s", { ended: true, now: NOW }, ENTRY), false);
    assert.deepEqual(await store.auditHead(), before);
  });

  test("records that come at once stand one behind the other, each once", async (store, user) => {
    const { seq } = await store.auditHead();
    const entries = Array.from(
      { length: 50 },
      (_, i) => ({ ...ENTRY, accountId: user.accountId, subject: `node_${i}` }),
    );
    await Promise.all(entries.map((entry) => store.recordAudit([entry])));
    const records = await store.auditRecords(user.accountId, { after: seq, limit: 100 });
    assert.deepEqual(records.map((record) => record.seq - seq), entries.map((_, i) => i + 1));
    assert.deepEqual(new Set(records.map(({ subject }) => subject)).size, 50);
    const check = await store.verifyAudit({});
    assert.deepEqual(check, { head: await store.auditHead(), bad: undefined });
  });

  test("AUD-9: an account reads its own records only", async (store, user) => {
    const other = await store.createAccount("other", NOW + 1, { ...ENTRY, action: "user.add" });
    await store.recordAudit([{ ...ENTRY, action: "control.start" }]);
    const of = (accountId: string, installation: boolean) =>
      store.auditRecords(accountId, { after: 0, limit: 100, installation });
    const owners = (records: readonly AuditRecord[]) => [
      ...new Set(records.map(({ accountId }) => accountId)),
    ];
    assert.deepEqual(owners(await of(other.accountId, false)), [other.accountId]);
    assert.deepEqual(owners(await of(user.accountId, true)), [user.accountId, undefined]);
  });

  test(
    "AUD-10: a clock that is set back leaves the order and the time that went by",
    async (store, user) => {
      await store.recordAudit([{ ...ENTRY, accountId: user.accountId, at: NOW }]);
      await store.recordAudit([{ ...ENTRY, accountId: user.accountId, at: NOW - HOUR }]);
      const [a, b] = (await store.auditRecords(user.accountId, { after: 0, limit: 100 })).slice(-2);
      assert.deepEqual([b!.seq - a!.seq, b!.at - a!.at], [1, -HOUR]);
      assert.ok(b!.uptimeMs >= a!.uptimeMs);
      assert.equal(b!.process, a!.process);
    },
  );

  test("records since a time are those that were written from then on", async (store, user) => {
    const { accountId } = user;
    for (const at of [NOW, NOW + 1, NOW + 2]) {
      await store.recordAudit([{ ...ENTRY, accountId, at }]);
    }
    const found = await store.auditRecords(accountId, { after: 0, limit: 10, since: NOW + 1 });
    assert.deepEqual(found.map(({ at }) => at), [NOW + 1, NOW + 2]);
  });

  revocationTests(test);
  test(
    "STO-17: that a node comes online is written at once, its later beats are held",
    async (store, user) => {
      await addEnrollToken(store, user, "s");
      const token = new Secret("obn_s");
      await store.registerNode(registration("s", { nodeToken: token }), ENTRY);
      const beat = async (now: number) => {
        const node = (await store.nodeByToken(token))!;
        await store.recordBeat(node, {
          addr: undefined,
          version: undefined,
          bootId: undefined,
          now,
        });
        return (await store.nodeByToken(token))!.storedSeenAt;
      };
      assert.equal(await beat(NOW), NOW);
      assert.equal(await beat(NOW + 30_000), NOW);
      assert.equal(await beat(NOW + 60_000), NOW);
      await store.flush();
      assert.equal(await beat(NOW + 90_000), NOW + 60_000);
      assert.equal(await beat(NOW + HOUR), NOW + HOUR);
    },
  );
}

export const userToken = (token: Secret) => ({
  token,
  name: "test",
  scopes: "all" as const,
  createdAt: NOW,
  expiresAt: NOW + HOUR,
});

export async function addEnrollToken(
  store: Store,
  user: User,
  secret: string,
  tags: readonly string[] = [],
): Promise<void> {
  await store.addEnrollToken({ ...enrollToken(user, secret), tags }, ENTRY);
}

const enrollToken = (user: User, secret: string): NewEnrollToken => ({
  accountId: user.accountId,
  createdBy: user.id,
  secret: new Secret(secret),
  tags: [],
  uses: 1,
  createdAt: NOW,
  expiresAt: NOW + HOUR,
});

export const registration = (
  secret: string,
  more: Partial<Registration> = {},
): Registration => ({
  secret: new Secret(secret),
  nodeId: newNodeId(),
  nodeToken: new Secret(`token ${Math.random()}`),
  name: "mini",
  addr: "127.0.0.1:7600",
  os: "linux",
  arch: "amd64",
  hostKey: "key",
  now: NOW,
  ...more,
});

export async function enroll(
  store: Store,
  user: User,
  name: string,
  tags: readonly string[] = [],
  hostKey = `key of ${name}`,
): Promise<Node> {
  const secret = `secret of ${hostKey}`;
  await addEnrollToken(store, user, secret, tags);
  const nodeToken = new Secret(hostKey.replace("key", "token"));
  return await store.registerNode(registration(secret, { name, hostKey, nodeToken }), ENTRY);
}

const refuses = (code: Code, call: Promise<unknown>) =>
  assert.rejects(call, (error: OpenboxError) => error.code === code);
