import assert from "node:assert/strict";
import { createCertAuthority } from "../../../src/ca/authority.ts";
import { signStatement, verifyStatement } from "../../../src/ca/operations.ts";
import {
  loadOperationsKey,
  openOperations,
  operationsKeyPlace,
} from "../../../src/control/operations.ts";
import { createRevocationLists } from "../../../src/control/revocation_lists.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { parseCertificate } from "../../../src/ssh/certificate.ts";
import { fingerprint, generateKey, privatePem } from "../../../src/ssh/key.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { CA } from "./world.ts";

const DAY = 24 * 3600_000, NOW = Date.UTC(2026, 0, 1);

async function withOperations(
  body: (world: {
    readonly clock: FakeClock;
    /** Another process with the same key and database. */
    open(
      key?: ReturnType<typeof generateKey>,
      replace?: Parameters<typeof openOperations>[0]["replace"],
    ): ReturnType<typeof openOperations>;
    readonly store: Store;
    readonly ca: { sealed: boolean; issued: number };
    readonly lists: (operations: ReturnType<typeof openOperations>) => Promise<unknown>;
  }) => Promise<void>,
): Promise<void> {
  const clock = new FakeClock(NOW), key = generateKey(), ca = { sealed: false, issued: 0 };
  await using store = await openSqliteStore(IN_MEMORY, { clock });
  const authority = createCertAuthority({
    keys: CA,
    nextSerial: () => Promise.resolve(BigInt(++ca.issued)),
  });
  const sealed = () => new OpenboxError("unavailable", "the CA is sealed");
  await body({
    clock,
    ca,
    store,
    open: (own = key, replace) =>
      openOperations({
        key: own,
        replace,
        store,
        authority: () => ca.sealed ? Promise.reject(sealed()) : Promise.resolve(authority),
        clock,
      }),
    lists: (operations) =>
      createRevocationLists({ store, operations, clock }).signed("acc_000000000001", 0),
  });
}

const check = (signer: Parameters<typeof signStatement>[0], now: number) =>
  verifyStatement(signStatement(signer, "openbox-audit-head-v1", "{}"), {
    domain: "openbox-audit-head-v1",
    authorities: [CA.host],
    now,
  });

Deno.test("one certificate serves until two thirds of its life, also after a start", () =>
  withOperations(async ({ open, clock, ca }) => {
    const operations = open();
    const signers = await Promise.all([operations.signer(), operations.signer()]);
    for (const signer of signers) check(signer, clock.now());
    check(await open().signer(), clock.now());
    assert.equal(ca.issued, 1);
    clock.advance(61 * DAY);
    check(await operations.signer(), clock.now());
    assert.equal(ca.issued, 2);
    assert.equal((await open().signer()).certificate.length > 0, true);
    assert.equal(ca.issued, 2);
  }));

Deno.test("ROT-6: a CA that is sealed at the start stops no list; without a certificate nothing is signed", () =>
  withOperations(async ({ open, clock, ca, lists }) => {
    await open().signer();
    ca.sealed = true;
    check(await open().signer(), clock.now());
    assert.ok(await lists(open()));
    clock.advance(61 * DAY);
    check(await open().signer(), clock.now());
    const stranger = generateKey();
    await assert.rejects(open(stranger).signer(), { message: "the CA is sealed" });
    assert.equal(await lists(open(stranger)), undefined);
    clock.advance(30 * DAY);
    await assert.rejects(open().signer(), { message: "the CA is sealed" });
    ca.sealed = false;
    check(await open().signer(), clock.now());
  }));

Deno.test("two control planes with keys of their own are believed alike", () =>
  withOperations(async ({ open, clock }) => {
    for (const key of [generateKey(), generateKey()]) {
      check(await open(key).signer(), clock.now());
    }
  }));

Deno.test("the operations key is made once, for its owner only; a loose file is refused", async () => {
  const directory = await Deno.makeTempDir(), path = `${directory}/control/operations_key`;
  try {
    const source = { kind: "file", path } as const;
    const keys = await Promise.all(Array.from({ length: 8 }, () => loadOperationsKey(source)));
    const again = await loadOperationsKey(source);
    for (const key of keys) assert.deepEqual(key.raw, again.raw);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    await Deno.chmod(path, 0o640);
    await assert.rejects(loadOperationsKey(source), { code: "unsafe_file" });
    await Deno.chmod(path, 0o600);
    await Deno.writeTextFile(path, "half a ke");
    await assert.rejects(loadOperationsKey(source), { code: "bad_file" });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a key that is given is taken; without a place to keep one it is this process's", async () => {
  const key = generateKey(), pem = new Secret(privatePem(key, "x"));
  assert.deepEqual((await loadOperationsKey({ kind: "text", pem })).raw, key.raw);
  const made = [
    await loadOperationsKey({ kind: "memory" }),
    await loadOperationsKey({ kind: "memory" }),
  ];
  assert.notDeepEqual(made[0]!.raw, made[1]!.raw);
  // a home that cannot be written stops nobody
  assert.ok(await loadOperationsKey({ kind: "file", path: "/proc/openbox/operations_key" }));
});

/** Some account's administrator revokes what signs, by its serial or by its key. */
async function revokeSigner(
  store: Store,
  kind: "cert" | "key",
  { key, certificate }: Parameters<typeof signStatement>[0],
): Promise<void> {
  const { accountId, id: by } = await store.ensureFirstUser("me", NOW, ENTRY);
  const id = kind === "key" ? fingerprint(key.blob) : String(parseCertificate(certificate).serial);
  await store.revoke({ accountId, kind, id, by, reason: "", now: NOW }, ENTRY);
}

Deno.test("CERT-28: an operations key whose certificate or key is revoked is replaced, in its file too", () =>
  withOperations(async ({ open, store, clock, ca }) => {
    const directory = await Deno.makeTempDir(), path = `${directory}/operations_key`;
    try {
      const source = { kind: "file", path } as const, replace = operationsKeyPlace(source);
      const first = await loadOperationsKey(source), operations = open(first, replace);
      const stolen = await operations.signer();
      let before = stolen;
      for (const kind of ["cert", "key"] as const) {
        await revokeSigner(store, kind, before);
        const signer = await operations.signer();
        check(signer, clock.now());
        assert.notDeepEqual(signer.key.raw, before.key.raw);
        assert.deepEqual((await loadOperationsKey(source)).raw, signer.key.raw);
        const again = await open(await loadOperationsKey(source), replace).signer();
        assert.deepEqual(again.certificate, signer.certificate);
        before = signer;
      }
      assert.equal(ca.issued, 3);
      // a start with the old file, as from a backup
      const restored = await open(first, operationsKeyPlace({ kind: "memory" })).signer();
      assert.notDeepEqual(restored.key.raw, first.raw);
      check(restored, clock.now());
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }));

Deno.test("ROT-6: while the CA is sealed a revoked operations key tells the nodes of its end, and goes then", () =>
  withOperations(async ({ open, store, clock, ca, lists }) => {
    const operations = open(undefined, operationsKeyPlace({ kind: "memory" }));
    const old = await operations.signer();
    await revokeSigner(store, "cert", old);
    ca.sealed = true;
    assert.deepEqual((await operations.signer()).certificate, old.certificate);
    assert.ok(await lists(operations));
    ca.sealed = false;
    const signer = await operations.signer();
    assert.notDeepEqual(signer.key.raw, old.key.raw);
    check(signer, clock.now());
  }));

Deno.test("an operations key that was given and is revoked signs nothing: its giver replaces it", () =>
  withOperations(async ({ open, store, lists }) => {
    const pem = new Secret(privatePem(generateKey(), "x"));
    const operations = open(undefined, operationsKeyPlace({ kind: "text", pem }));
    await revokeSigner(store, "key", await operations.signer());
    await assert.rejects(operations.signer(), { code: "revoked" });
    assert.equal(await lists(operations), undefined);
  }));
