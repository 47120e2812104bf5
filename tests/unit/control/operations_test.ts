import assert from "node:assert/strict";
import { createCertAuthority } from "../../../src/ca/authority.ts";
import { signStatement, verifyStatement } from "../../../src/ca/operations.ts";
import { loadOperationsKey, openOperations } from "../../../src/control/operations.ts";
import { createRevocationLists } from "../../../src/control/revocation_lists.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { generateKey, privatePem } from "../../../src/ssh/key.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { CA } from "./world.ts";

const DAY = 24 * 3600_000, NOW = Date.UTC(2026, 0, 1);

async function withOperations(
  body: (world: {
    readonly clock: FakeClock;
    /** Another process with the same key and database. */
    open(key?: ReturnType<typeof generateKey>): ReturnType<typeof openOperations>;
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
    open: (own = key) =>
      openOperations({
        key: own,
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
