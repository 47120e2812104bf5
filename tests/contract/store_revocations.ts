/** What every store must do with revocations: a part of store_suite.ts. */
import assert from "node:assert/strict";
import { Secret } from "../../src/secret.ts";
import { ENTRY } from "../fixtures/audit_entry.ts";
import type { RevocationEntry, RevocationRequest, Store, User } from "../../src/store/store.ts";

type Test = (what: string, run: (store: Store, user: User) => Promise<void>) => void;

const NOW = Date.UTC(2026, 0, 1), HOUR = 3600_000, DAY = 24 * HOUR;
type Wish = Pick<RevocationRequest, "kind" | "id"> & { readonly now?: number };
const revoke = (store: Store, { accountId }: User, { kind, id, now = NOW }: Wish) =>
  store.revoke({ accountId, kind, id, by: "test", reason: "", now }, ENTRY);
const listed = async (store: Store, { accountId }: User) =>
  (await store.revocations(accountId)).revocations.filter((one) => one.listed)
    .map(({ kind, id }) => `${kind} ${id}`);
const held = (version: number, entries: readonly Omit<RevocationEntry, "issuedBefore">[]) => ({
  version,
  entries: entries.map((entry) => ({ issuedBefore: undefined, ...entry })),
});

export function revocationTests(test: Test): void {
  test(
    "CERT-16: each revocation has a version of its own, above all before, of callers at once too",
    async (store, user) => {
      assert.deepEqual(await store.revocations(user.accountId), { version: 0, revocations: [] });
      const made = await Promise.all(
        Array.from({ length: 20 }, (_, i) => revoke(store, user, { kind: "cert", id: `${i}` })),
      );
      const versions = made.map((one) => one!.version);
      assert.equal(new Set(versions).size, 20);
      const highest = Math.max(...versions);
      assert.equal((await store.revocations(user.accountId)).version, highest);
      // by a clock that was set back
      const later = await revoke(store, user, { kind: "cert", id: "x", now: NOW - 400 * DAY });
      assert.equal(later!.version, highest + 1);
      const stranger = await store.createAccount("stranger", NOW, ENTRY);
      assert.equal((await store.revocations(stranger.accountId)).version, 0);
      assert.deepEqual(await listed(store, stranger), []);
    },
  );

  test(
    "CERT-28: a token that is revoked is over, and a second time too; another's is not there",
    async (store, user) => {
      const token = new Secret("obx_a");
      const of = {
        token,
        name: "laptop",
        scopes: "all",
        createdAt: NOW,
        expiresAt: NOW + HOUR,
      } as const;
      const id = await store.addUserToken(user, of, ENTRY);
      const stranger = await store.createAccount("stranger", NOW, ENTRY);
      assert.equal(await revoke(store, stranger, { kind: "token", id }), undefined);
      assert.equal(await revoke(store, stranger, { kind: "user", id: user.id }), undefined);
      assert.ok(await store.userByToken(token, NOW));
      const first = await revoke(store, user, { kind: "token", id });
      assert.equal(await store.userByToken(token, NOW), undefined);
      assert.equal(await store.userByToken(token, 0), undefined, "whatever the clock says");
      const again = await revoke(store, user, { kind: "token", id });
      assert.ok(again!.version > first!.version);
      assert.deepEqual(await listed(store, user), [`token ${id}`]);
    },
  );

  test("a key is revoked in its account", async (store, user) => {
    const stranger = await store.createAccount("stranger", NOW, ENTRY);
    await revoke(store, user, { kind: "key", id: "SHA256:x" });
    assert.equal(await store.isKeyRevoked(user.accountId, "SHA256:x"), true);
    assert.equal(await store.isKeyRevoked(user.accountId, "SHA256:y"), false);
    assert.equal(await store.isKeyRevoked(stranger.accountId, "SHA256:x"), false);
  });

  test(
    "what no certificate can be alive for is forgotten: after 30 days, a certificate after 100, a key never",
    async (store, user) => {
      for (const kind of ["cert", "key"] as const) await revoke(store, user, { kind, id: kind });
      await revoke(store, user, { kind: "user", id: user.id });
      const his = `user ${user.id}`;
      const after = async (days: number) => {
        await revoke(store, user, { kind: "cert", id: "new", now: NOW + days * DAY });
        return (await listed(store, user)).toSorted();
      };
      assert.deepEqual(await after(30), ["cert cert", "cert new", "key key", his]);
      assert.deepEqual(await after(31), ["cert cert", "cert new", "key key"]);
      assert.deepEqual(await after(101), ["cert new", "key key"]);
      assert.equal(await store.isKeyRevoked(user.accountId, "key"), true);
    },
  );

  test(
    "a list that is full becomes one entry for the whole account, beside keys and certificates",
    async (store, user) => {
      const { accountId } = user;
      await revoke(store, user, { kind: "cert", id: "7" });
      await revoke(store, user, { kind: "key", id: "k5000" });
      const many = Array.from(
        { length: 10_000 },
        (_, i) => ({ kind: "token" as const, id: `t${i}` }),
      );
      await store.adoptRevocations(accountId, held(NOW, many), NOW, ENTRY);
      assert.equal((await listed(store, user)).length, 10_002);
      await revoke(store, user, { kind: "key", id: "k1" });
      assert.equal((await listed(store, user)).length, 10_003, "a key has room of its own");
      const made = await revoke(store, user, { kind: "user", id: user.id });
      const left = [`account ${accountId}`, "cert 7", "key k1", "key k5000", `user ${user.id}`];
      assert.deepEqual((await listed(store, user)).toSorted(), left);
      const { version, revocations } = await store.revocations(accountId);
      assert.equal(version, made!.version);
      const all = revocations.find(({ kind }) => kind === "account")!;
      assert.ok(all.issuedBefore! > NOW);
      assert.equal(await store.isKeyRevoked(accountId, "k5000"), true);
    },
  );

  test("who revokes keys without end is told so, and none is left out", async (store, user) => {
    const many = Array.from({ length: 10_000 }, (_, i) => ({ kind: "key" as const, id: `k${i}` }));
    await store.adoptRevocations(user.accountId, held(NOW, many), NOW, ENTRY);
    await assert.rejects(revoke(store, user, { kind: "key", id: "new" }), { code: "quota" });
    await assert.rejects(revoke(store, user, { kind: "cert", id: "1" }), { code: "quota" });
    assert.ok(await revoke(store, user, { kind: "key", id: "k1" }), "it is there already");
    assert.ok(await revoke(store, user, { kind: "user", id: user.id }));
    assert.equal((await listed(store, user)).length, 10_001);
  });

  test(
    "who makes and revokes tokens without end comes to one entry for himself",
    async (store, user) => {
      const { accountId } = user;
      const of = { name: "x", scopes: "all", createdAt: NOW, expiresAt: NOW + HOUR } as const;
      const bob = await store.addUser(
        { accountId, name: "bob", createdBy: user.id, now: NOW },
        ENTRY,
      );
      const add = (owner: User, text: string) =>
        store.addUserToken(owner, { ...of, token: new Secret(text) }, ENTRY);
      const mine = await add(user, "mine");
      await revoke(store, user, { kind: "token", id: mine });
      const ids: string[] = [];
      for (let i = 0; i <= 1000; i++) ids.push(await add(bob, `bob ${i}`));
      const last = ids.pop()!, tokens = ids.map((id) => ({ kind: "token" as const, id }));
      await store.adoptRevocations(accountId, held(NOW, tokens), NOW, ENTRY);
      assert.equal((await listed(store, user)).length, 1001);
      await revoke(store, user, { kind: "token", id: last });
      assert.deepEqual(await listed(store, user), [`user ${bob.id}`, `token ${mine}`]);
      const { revocations } = await store.revocations(accountId);
      const all = revocations.find(({ kind }) => kind === "user")!;
      assert.ok(all.issuedBefore! > NOW);
      assert.equal(revocations.filter(({ kind }) => kind === "token").length, 1002);
    },
  );

  test(
    "CERT-28: the nodes hear of the tokens of others that fall with a user",
    async (store, user) => {
      const { accountId } = user, by = { createdBy: user.id, now: NOW };
      const of = { scopes: "all", createdAt: NOW, expiresAt: NOW + HOUR } as const;
      const ann = await store.addUser({ accountId, name: "ann", ...by }, ENTRY);
      const make = async (name: string) => {
        const bob = await store.addUser({ accountId, name, ...by }, ENTRY);
        const add = (owner: User, text: string, madeWith?: string) =>
          store.addUserToken(
            owner,
            { ...of, name: text, token: new Secret(`${text} ${name}`), madeWith },
            ENTRY,
          );
        const own = await add(bob, "own"), made = await add(ann, "made", own);
        return { bob, own, made, token: new Secret(`made ${name}`) };
      };
      const isGood = async (token: Secret) => await store.userByToken(token, NOW) !== undefined;
      const change = { now: NOW, force: true, keepMade: false };

      const removed = await make("removed");
      await store.removeUser(accountId, removed.bob.id, change, ENTRY);
      const expected = [`token ${removed.made}`, `user ${removed.bob.id}`];
      assert.deepEqual((await listed(store, user)).toSorted(), expected.toSorted());

      const revoked = await make("revoked");
      const told = await revoke(store, user, { kind: "user", id: "revoked" });
      assert.equal(told!.id, revoked.bob.id);
      expected.push(`token ${revoked.made}`, `user ${revoked.bob.id}`);
      assert.deepEqual((await listed(store, user)).toSorted(), expected.toSorted());

      const adopted = await make("adopted"), { id } = adopted.bob;
      const entry = { kind: "user" as const, id, issuedBefore: NOW + 1 };
      await store.adoptRevocations(accountId, { version: NOW, entries: [entry] }, NOW, ENTRY);
      expected.push(`token ${adopted.made}`, `user ${id}`);
      assert.deepEqual((await listed(store, user)).toSorted(), expected.toSorted());
      for (const { token } of [removed, revoked, adopted]) assert.equal(await isGood(token), false);

      const kept = await make("kept");
      await store.removeUser(accountId, kept.bob.id, { ...change, keepMade: true }, ENTRY);
      expected.push(`user ${kept.bob.id}`);
      assert.deepEqual((await listed(store, user)).toSorted(), expected.toSorted());
      assert.equal(await isGood(kept.token), true);
    },
  );

  test(
    "STO-8: a version is known also when what came with it was revoked again or is forgotten",
    async (store, user) => {
      const { accountId } = user;
      const first = await revoke(store, user, { kind: "cert", id: "1" });
      await revoke(store, user, { kind: "cert", id: "1", now: NOW + 1 });
      await revoke(store, user, { kind: "user", id: user.id, now: NOW + 2 });
      assert.equal(await store.knowsRevocationVersion(accountId, first!.version), true);
      const { version } = await store.revocations(accountId);
      await revoke(store, user, { kind: "cert", id: "2", now: NOW + 31 * DAY });
      assert.equal(await store.knowsRevocationVersion(accountId, version), true);
      await revoke(store, user, { kind: "cert", id: "2", now: NOW + 101 * DAY });
      assert.equal(await store.knowsRevocationVersion(accountId, version), false);
    },
  );

  test(
    "STO-8: of a list that was off for long, keys alone come back: the rest is over",
    async (store, user) => {
      const { accountId } = user, later = NOW + 31 * DAY;
      const entries = (["token", "user", "cert", "key"] as const).map((kind) => ({
        kind,
        id: kind,
      }));
      const adopt = async (now: number) =>
        (await store.adoptRevocations(accountId, held(NOW, entries), now, ENTRY))
          .map(({ kind }) => kind);
      assert.deepEqual(await adopt(later), ["cert", "key"]);
      assert.deepEqual(await adopt(later), []);
      const stranger = await store.createAccount("stranger", NOW, ENTRY);
      const taken = await store.adoptRevocations(
        stranger.accountId,
        held(NOW, entries),
        NOW + 101 * DAY,
        ENTRY,
      );
      assert.deepEqual(taken.map(({ kind }) => kind), ["key"]);
    },
  );

  test(
    "a signer is revoked by its serial or its key, whichever account says so",
    async (store, user) => {
      assert.equal(await store.isSignerRevoked(7n, "SHA256:x"), false);
      await revoke(store, user, { kind: "cert", id: "7" });
      assert.equal(await store.isSignerRevoked(7n, "SHA256:x"), true);
      assert.equal(await store.isSignerRevoked(8n, "SHA256:x"), false);
      await revoke(store, user, { kind: "key", id: "SHA256:x" });
      assert.equal(await store.isSignerRevoked(8n, "SHA256:x"), true);
    },
  );

  test(
    "STO-8: of a list that is not remembered what is missing is taken over, and its tokens end",
    async (store, user) => {
      const token = new Secret("obx_a"), kept = new Secret("obx_b");
      const of = { name: "x", scopes: "all", createdAt: NOW, expiresAt: NOW + HOUR } as const;
      const id = await store.addUserToken(user, { ...of, token }, ENTRY);
      await store.addUserToken(user, { ...of, token: kept }, ENTRY);
      await revoke(store, user, { kind: "cert", id: "1" });
      const list = held(NOW + DAY, [{ kind: "token", id }, { kind: "cert", id: "1" }]);
      const { accountId } = user;
      const taken = await store.adoptRevocations(accountId, list, NOW, ENTRY);
      assert.deepEqual(taken.map((one) => one.id), [id]);
      assert.equal(await store.userByToken(token, NOW), undefined);
      assert.ok(await store.userByToken(kept, NOW));
      const { version } = await store.revocations(accountId);
      assert.ok(version > list.version);
      assert.deepEqual(await store.adoptRevocations(accountId, list, NOW, ENTRY), []);
      assert.equal(
        (await store.revocations(accountId)).version,
        version,
        "nothing new, no version",
      );
      assert.equal(await store.knowsRevocationVersion(accountId, version), true);
      assert.equal(await store.knowsRevocationVersion(accountId, list.version), false);

      const user1 = { kind: "user" as const, id: user.id, issuedBefore: NOW + 1 };
      await store.adoptRevocations(accountId, { version: NOW, entries: [user1] }, NOW, ENTRY);
      assert.equal(await store.userByToken(kept, NOW), undefined);
    },
  );

  test("which list a node holds is held, and written with the next flush", async (store, user) => {
    const secret = new Secret("s"), nodeToken = new Secret("n");
    await store.addEnrollToken({
      accountId: user.accountId,
      createdBy: user.id,
      secret,
      tags: [],
      uses: 1,
      createdAt: NOW,
      expiresAt: NOW + HOUR,
    }, ENTRY);
    const { id } = await store.registerNode({
      secret,
      nodeId: "node_0000000000000001",
      nodeToken,
      name: "mini",
      addr: "10.0.0.1:7600",
      os: "linux",
      arch: "amd64",
      hostKey: "k",
      now: NOW,
    }, ENTRY);
    const beat = { addr: undefined, version: undefined, bootId: undefined, now: NOW };
    const show = async () => (await store.node(user.accountId, id))?.revocations;
    assert.equal(await show(), undefined);
    const node = (await store.nodeByToken(nodeToken))!;
    assert.equal(node.revocationsVersion, 0);
    const revocations = { version: 7, signedAt: NOW };
    await store.recordBeat(node, { ...beat, revocations });
    assert.deepEqual(await show(), revocations);
    assert.equal((await store.nodeByToken(nodeToken))!.heldRevocations, undefined);
    await store.flush();
    assert.deepEqual((await store.nodeByToken(nodeToken))!.heldRevocations, revocations);
    const made = await revoke(store, user, { kind: "cert", id: "1" });
    assert.equal((await store.nodeByToken(nodeToken))!.revocationsVersion, made!.version);
  });

  test("the newest certificate of an operations key is kept", async (store) => {
    assert.equal(await store.operationsCert("k"), undefined);
    await store.recordOperationsCert("k", "one", NOW, ENTRY);
    await store.recordOperationsCert("k", "two", NOW, ENTRY);
    assert.equal(await store.operationsCert("k"), "two");
    assert.equal(await store.operationsCert("other"), undefined);
  });
}
