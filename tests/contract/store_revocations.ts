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
    "what no certificate can be alive for is forgotten: after 30 days, a certificate after 100",
    async (store, user) => {
      for (const kind of ["cert", "key"] as const) await revoke(store, user, { kind, id: kind });
      const after = async (days: number) => {
        await revoke(store, user, { kind: "cert", id: "new", now: NOW + days * DAY });
        return (await listed(store, user)).toSorted();
      };
      assert.deepEqual(await after(30), ["cert cert", "cert new", "key key"]);
      assert.deepEqual(await after(31), ["cert cert", "cert new"]);
      assert.deepEqual(await after(101), ["cert new"]);
    },
  );

  test(
    "a list that is full becomes one entry for the whole account; nothing is forgotten here",
    async (store, user) => {
      const { accountId } = user;
      const many = Array.from(
        { length: 10_000 },
        (_, i) => ({ kind: "key" as const, id: `k${i}` }),
      );
      await store.adoptRevocations(accountId, held(1, many), NOW, ENTRY);
      assert.equal((await listed(store, user)).length, 10_000);
      const made = await revoke(store, user, { kind: "cert", id: "7" });
      assert.deepEqual((await listed(store, user)).toSorted(), [`account ${accountId}`, "cert 7"]);
      const { version, revocations } = await store.revocations(accountId);
      assert.equal(version, made!.version);
      const all = revocations.find(({ kind }) => kind === "account")!;
      assert.ok(all.issuedBefore! > NOW);
      assert.equal(await store.isKeyRevoked(accountId, "k5000"), true);
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
      await store.adoptRevocations(accountId, { version: 1, entries: [user1] }, NOW, ENTRY);
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
