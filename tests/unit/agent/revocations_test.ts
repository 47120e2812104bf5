import assert from "node:assert/strict";
import fc from "fast-check";
import { authenticate } from "../../../src/agent/connection.ts";
import { openRevocations, type Revocations } from "../../../src/agent/revocations.ts";
import type { AgentRules } from "../../../src/agent/rules.ts";
import type { NodeState } from "../../../src/agent/state.ts";
import type { RevocationList } from "../../../src/api/revocations.ts";
import { type SignedStatement, signStatement } from "../../../src/ca/operations.ts";
import { type CaKeys, generateCaKeys } from "../../../src/ca/keys.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { fingerprint, generateKey } from "../../../src/ssh/key.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { ACCOUNT_ID, aState, aUser, authority, CA, NOW, userCert } from "./world.ts";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const operationsKey = generateKey();

async function signer(keys: CaKeys = CA, now = NOW, key = operationsKey) {
  const { blob: certificate, serial } = await authority(keys).issueOperationsCert({ key, now });
  return { key, certificate, serial };
}
const operations = await signer();

type Entry = RevocationList["entries"][number];

function list(
  version: number,
  entries: readonly Entry[] = [],
  { issuedAt = NOW, account = ACCOUNT_ID, by = operations } = {},
): SignedStatement {
  const payload: RevocationList = {
    account_id: account,
    version,
    issued_at: issuedAt / 1000,
    entries: [...entries],
  };
  return signStatement(by, "openbox-revocations-v1", JSON.stringify(payload));
}

interface World {
  readonly clock: FakeClock;
  readonly path: string;
  readonly node: { state: NodeState; update(change: Partial<NodeState>): Promise<void> };
  /** As at a start of the agent: what is on disk counts. */
  open(): Promise<Revocations>;
}

function test(
  title: string,
  body: (world: World) => Promise<void>,
  rules: Pick<AgentRules, "revocation"> = { revocation: "hard" },
): void {
  Deno.test(title, async () => {
    const dir = await Deno.makeTempDir();
    try {
      const clock = new FakeClock(NOW), path = `${dir}/agent/revocations.json`;
      const node: World["node"] = {
        state: await aState(),
        update(change) {
          node.state = { ...node.state, ...change };
          return Promise.resolve();
        },
      };
      const open = () => openRevocations({ path, node, rules, clock });
      await body({ clock, path, node, open });
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

const refuses = (held: Revocations, statement: SignedStatement, name?: string) =>
  assert.rejects(held.take(statement), OpenboxError, name);

const USER = "usr_000000000001", TOKEN = "tok_00000000000a";

test("CERT-16: a token, a user, a certificate, a key, a CA and an account that are revoked are refused", async ({ open }) => {
  const mine = generateKey();
  const user = await aUser({ tokenId: TOKEN, key: mine });
  const soon = NOW / 1000 + 60;
  const naming: [Entry, boolean][] = [
    [{ kind: "token", id: TOKEN }, true],
    [{ kind: "token", id: "tok_00000000000b" }, false],
    [{ kind: "user", id: USER, before: soon }, true],
    [{ kind: "user", id: USER }, true],
    [{ kind: "user", id: USER, before: NOW / 1000 }, false],
    [{ kind: "user", id: "usr_000000000002", before: soon }, false],
    [{ kind: "cert", id: String(user.serial) }, true],
    [{ kind: "cert", id: String(user.serial + 1n) }, false],
    [{ kind: "key", id: fingerprint(mine.blob) }, true],
    [{ kind: "key", id: fingerprint(CA.user.blob) }, true],
    [{ kind: "key", id: fingerprint(generateKey().blob) }, false],
    [{ kind: "account", id: ACCOUNT_ID, before: soon }, true],
    [{ kind: "account", id: ACCOUNT_ID, before: NOW / 1000 }, false],
  ];
  const held = await open();
  for (const [i, [entry, is]] of naming.entries()) {
    await held.take(list(i + 1, [entry]));
    assert.equal(held.refusal(user)?.code, is ? "revoked" : undefined, JSON.stringify(entry));
  }
});

test("CERT-16: a certificate without a token is not taken for one of any token", async ({ open }) => {
  const held = await open();
  await held.take(list(1, [{ kind: "token", id: "" + TOKEN }, { kind: "user", id: "usr_x" }]));
  assert.equal(held.refusal(await aUser()), undefined);
});

test("CERT-16: an agent that starts again refuses before it heard of anybody", async ({ open, clock }) => {
  const user = await aUser({ tokenId: TOKEN });
  await (await open()).take(list(5, [{ kind: "token", id: TOKEN }]));
  clock.advance(10 * MINUTE);
  const again = await open();
  assert.deepEqual(again.held, { version: 5, issuedAt: NOW });
  assert.equal(again.refusal(user)?.code, "revoked");
});

test("CERT-16: who is revoked is told so, and gets in no more", async ({ open, clock, node }) => {
  const certificate = await userCert({ tokenId: TOKEN });
  const revocations = await open();
  const ask = () =>
    authenticate({ username: "me", certificate, remoteAddress: "10.0.0.9" }, {
      clock,
      node: { state: node.state, clockAheadMs: 0 },
      revocations,
    });
  assert.ok(ask().accept);
  await revocations.take(list(1, [{ kind: "token", id: TOKEN }]));
  const decision = ask();
  assert.ok(!decision.accept);
  assert.equal(decision.banner, `openbox: revoked: The token ${TOKEN} was revoked`);
});

test("a node that never had a list works at once", async ({ open }) => {
  const held = await open();
  assert.equal(held.held, undefined);
  assert.equal(held.refusal(await aUser()), undefined);
});

test("CERT-17: a list that is older, forged, another account's, another CA's or not yet true is refused, and the one held stays", async ({ open, clock }) => {
  const held = await open(), good = list(7, [{ kind: "token", id: TOKEN }]);
  await held.take(good);
  const strange = await signer(generateCaKeys());
  const expired = await signer(CA, NOW - 100 * DAY);
  const node = await authority().issueHostCert({
    key: operationsKey,
    nodeId: "node_00000000000000aa",
    now: NOW,
  });
  const refused: [string, SignedStatement][] = [
    ["rolled back", list(6)],
    ["another account's", list(8, [], { account: "acc_000000000002" })],
    ["another CA's", list(8, [], { by: strange })],
    ["signed with a certificate that is over", list(8, [], { by: expired })],
    ["signed by a node", list(8, [], { by: { ...operations, certificate: node.blob } })],
    ["from the future", list(8, [], { issuedAt: NOW + 6 * MINUTE })],
    ["changed", { ...list(8), payload: list(9).payload }],
    ["another's signature", { ...list(8), signature: list(9).signature }],
    ["no list", signStatement(operations, "openbox-revocations-v1", "{}")],
    ["no JSON", signStatement(operations, "openbox-revocations-v1", "{")],
    ["another statement", signStatement(operations, "openbox-audit-head-v1", list(8).payload)],
    [
      "a kind that this agent would not enforce",
      list(8, [{ kind: "planet" as "user", id: "earth" }]),
    ],
  ];
  for (const [name, statement] of refused) {
    await refuses(held, statement, name);
    assert.equal(held.statement, good, name);
  }
  // an older one is refused also where the newer one is gone from the disk
  clock.advance(MINUTE);
  assert.deepEqual(await held.take(list(7, [], { issuedAt: NOW - MINUTE })), [], "older signature");
  assert.equal(held.statement, good);
});

test("CERT-17: a list that is missing, truncated or rolled back on disk lets nobody in until another comes", async ({ open, path, node }) => {
  const user = await aUser();
  const first = await open();
  await first.take(list(3, [{ kind: "token", id: TOKEN }]));
  const old = await Deno.readTextFile(path);
  await first.take(list(4));
  const text = await Deno.readTextFile(path);
  assert.equal(node.state.revocationsFloor, 4);
  const damages: [string, string | undefined][] = [
    ["missing", undefined],
    ["empty", ""],
    ["truncated", text.slice(0, -20)],
    ["rolled back", old],
    ["changed", text.replace('\\"version\\":4', '\\"version\\":5')],
    ["a newer openbox's", text.replace('"version":1', '"version":2')],
    ["garbage", "x".repeat(1000)],
  ];
  for (const [name, damaged] of damages) {
    if (damaged === undefined) await Deno.remove(path);
    else await Deno.writeTextFile(path, damaged, { mode: 0o600 });
    const held = await open();
    assert.equal(held.held, undefined, name);
    assert.equal(held.refusal(user)?.code, "revocations_stale", name);
    await refuses(held, list(3), name);
    await held.take(list(4, [], { issuedAt: NOW + MINUTE }));
    assert.equal(held.refusal(user), undefined, name);
  }
});

test("CERT-17: a list that is older than a day lets nobody in; who is revoked hears that", async ({ open, clock }) => {
  const held = await open(), gone = await aUser({ tokenId: TOKEN });
  await held.take(list(1, [{ kind: "token", id: TOKEN }]));
  clock.advance(DAY);
  assert.equal(held.refusal(await aUser()), undefined);
  clock.advance(1000);
  assert.equal(held.refusal(await aUser())?.code, "revocations_stale");
  assert.equal(held.refusal(gone)?.code, "revoked");
  await held.take(list(1, [], { issuedAt: clock.now() }));
  assert.equal(held.refusal(await aUser()), undefined, "a fresh signature of the same version");
});

test(
  'CERT-17: revocation = "soft" goes on with an old list, and with none',
  async ({ open, clock, path }) => {
    const held = await open();
    await held.take(list(1, [{ kind: "token", id: TOKEN }]));
    clock.advance(400 * DAY);
    assert.equal(held.refusal(await aUser()), undefined);
    assert.equal(held.refusal(await aUser({ tokenId: TOKEN }))?.code, "revoked");
    await Deno.remove(path);
    assert.equal((await open()).refusal(await aUser()), undefined);
  },
  { revocation: "soft" },
);

test("CERT-17: a control plane whose clock was a year ahead is followed when it is right again", async ({ open, clock }) => {
  const year = 365 * DAY, ahead = await signer(CA, NOW + year);
  const held = await open();
  clock.advance(year);
  await held.take(list(1, [], { issuedAt: NOW + year, by: ahead }));
  clock.advance(-year);
  assert.equal(held.refusal(await aUser())?.code, "revocations_stale");
  await held.take(list(1));
  assert.equal(held.refusal(await aUser()), undefined);
});

test("CERT-17: the certificate of an operations key that was stolen is revoked by its serial", async ({ open }) => {
  const held = await open(), next = await signer();
  await held.take(list(1, [{ kind: "cert", id: String(operations.serial) }], { by: next }));
  await refuses(held, list(2));
  await held.take(list(2, [], { by: next }));
  assert.equal(held.held?.version, 2);
});

test("CERT-17: an operations key that was stolen is revoked by its fingerprint, whatever certificate it has", async ({ open }) => {
  const held = await open(), next = await signer(CA, NOW, generateKey());
  await held.take(list(1, [{ kind: "key", id: fingerprint(operationsKey.blob) }], { by: next }));
  await refuses(held, list(2));
  await refuses(held, list(2, [], { by: await signer() }));
  await held.take(list(2, [], { by: next }));
  assert.equal(held.held?.version, 2);
});

test("CERT-17: whatever comes in whatever order, with restarts and losses of the file, the version never falls", async (world) => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.nat(12).map((version) => ({ version })) },
    { weight: 2, arbitrary: fc.constant("restart" as const) },
    { weight: 1, arbitrary: fc.constant("lose" as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      await Deno.remove(world.path).catch(() => {});
      await world.node.update({ revocationsFloor: undefined });
      let held = await world.open(), newest = -1;
      for (const step of steps) {
        if (step === "lose") await Deno.remove(world.path).catch(() => {});
        if (typeof step === "string") held = await world.open();
        else {
          const taken = await held.take(list(step.version)).then(() => true, () => false);
          assert.equal(taken, step.version >= newest);
          if (taken) newest = step.version;
        }
        if (held.held) assert.equal(held.held.version, newest);
        assert.equal(world.node.state.revocationsFloor ?? -1, newest);
      }
    }),
    { numRuns: 40 },
  );
});

test("what a list names that the one before did not, is returned", async ({ open }) => {
  const held = await open();
  const [a, b]: Entry[] = [{ kind: "token", id: "a" }, { kind: "user", id: "b", before: 1 }];
  assert.deepEqual((await held.take(list(1, [a!]))).map(({ id }) => id), ["a"]);
  assert.deepEqual((await held.take(list(2, [a!, b!]))).map(({ id }) => id), ["b"]);
  assert.deepEqual(await held.take(list(3, [a!])), []);
  const later = await held.take(list(4, [a!, { ...b!, before: 2 }]));
  assert.deepEqual(later.map(({ id }) => id), ["b"]);
});

test("where the disk takes nothing, a list holds all the same", async ({ open, path }) => {
  const held = await open();
  await Deno.mkdir(path, { recursive: true });
  await held.take(list(1, [{ kind: "token", id: TOKEN }]));
  assert.equal(held.refusal(await aUser({ tokenId: TOKEN }))?.code, "revoked");
});
