import assert from "node:assert/strict";
import { createCertAuthority } from "../../../src/ca/authority.ts";
import { caFingerprint, type CaKeyRing, parseCaRing } from "../../../src/ca/keys.ts";
import { type CaKind, currentPair, keysFingerprint } from "../../../src/ca/trust.ts";
import { verifyHostCert } from "../../../src/ca/verifier.ts";
import type { OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { eventually } from "../../fixtures/processes.ts";
import { type LightFleet, type LightNode, startLightFleet } from "../../fixtures/light_fleet.ts";
import { startWorld, type World } from "./world.ts";

/** Beyond a beat and its tenth, with the beat at once that follows a change. */
const BEAT = 36_000;
/** Until a node that is off is known to be. */
const OFFLINE = 92_000;
const FILE_CA = { OPENBOX_CA_KEY: "" };

interface Rotation extends AsyncDisposable {
  readonly world: World;
  readonly fleet: LightFleet;
  readonly clock: FakeClock;
  /** The keys as they lie there. */
  ring(): Promise<CaKeyRing>;
  step(body: unknown): Promise<void>;
  /** Lets these nodes beat, until they have followed and said so. */
  followed(nodes?: readonly LightNode[]): Promise<void>;
  /** Ends the control plane and starts it again. */
  restart(): Promise<void>;
}

/** A control plane with a CA file of its own, and nodes `n1` … with the tag `all`. */
async function startRotation(count: number): Promise<Rotation> {
  const clock = new FakeClock(), home = await Deno.makeTempDir();
  const database = `${home}/openbox.db`, env = { ...FILE_CA, OPENBOX_HOME: `${home}/home` };
  const start = async () =>
    await startWorld({ clock, env, store: await openSqliteStore(database, { clock }) });
  await Deno.chmod(home, 0o700);
  let world = await start();
  const fleet = await startLightFleet({ url: world.url, token: world.token, clock });
  for (let i = 1; i <= count; i++) await fleet.add(`n${i}`, ["all", `n${i}`]);
  await online(fleet, count);
  return {
    get world() {
      return world;
    },
    fleet,
    clock,
    async ring() {
      const path = `${home}/home/control/ca_key`;
      return parseCaRing(new Secret(await Deno.readTextFile(path)), path);
    },
    async step(body) {
      const reply = await world.call("POST", "/v1/ca/rotate", { token: world.token, body });
      assert.equal(reply.status, 200, reply.text);
    },
    async followed(nodes = fleet.nodes) {
      await fleet.pass(BEAT);
      await eventually("the nodes have followed", async () => {
        const { host, user } = await fleet.control.caStatus();
        const waiting = [...host.waiting, ...user.waiting].map(({ id }) => id);
        return !nodes.some(({ id }) => waiting.includes(id));
      }, 20_000);
    },
    async restart() {
      await world[Symbol.asyncDispose]();
      world = await start();
      fleet.moveTo(world.url, world.token);
      for (const node of fleet.nodes) {
        await node.stop();
        node.start();
      }
    },
    async [Symbol.asyncDispose]() {
      await fleet[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
      await Deno.remove(home, { recursive: true });
    },
  };
}

const online = (fleet: LightFleet, count: number) =>
  eventually(`${count} nodes are online`, async () => {
    const nodes = await fleet.control.nodes();
    return nodes.filter((node) => node.online).length === count;
  });

const trusts = (node: LightNode, kind: CaKind): string =>
  keysFingerprint(node.live.state.ca[kind].keys);

/** As whoever has the keys can issue it, without any control plane. */
async function issueWith(ring: CaKeyRing, node: LightNode, now: number): Promise<Uint8Array> {
  const keys = { host: ring.host[0]!, user: ring.user[0]! };
  const authority = createCertAuthority({ keys, nextSerial: () => Promise.resolve(1n) });
  const { accountId, nodeId } = node.live.state;
  const certificate = await authority.issueUserCert({
    key: generateKey(),
    userId: "usr_000000000001",
    userName: "me",
    accountId,
    nodeId,
    now,
  });
  return certificate.blob;
}

Deno.test("ROT-1: 20 nodes, 3 of them off, both CAs rotated under load: no dispatch fails, the 3 come back", async () => {
  await using it = await startRotation(20);
  const { fleet } = it, off = fleet.nodes.slice(0, 3), on = fleet.nodes.slice(3);
  const before = await it.ring();
  const pair = { host: before.host[0]!, user: before.user[0]! };
  for (const node of off) await node.stop();
  const byFingerprint = { kind: "fingerprint", fingerprint: caFingerprint(pair) } as const;
  const callers = await Promise.all(
    Array.from({ length: 6 }, (_, i) => fleet.caller(i % 2 ? byFingerprint : undefined)),
  );
  const slow = await fleet.caller(); // which does not call while the CA is rotated

  const failures: unknown[] = [];
  let calls = 0, loading = true;
  const load = Promise.all(callers.map(async (caller, c) => {
    for (let i = c; loading && failures.length < 10; i++) {
      const node = on[i % on.length]!;
      await caller.call({ node_id: node.id }).catch((error) => failures.push(error));
      calls++;
    }
  }));
  try {
    await fleet.pass(OFFLINE);
    for (const step of ["init", "update", "finish"]) {
      await it.step({ step });
      await it.followed(on);
    }
  } finally {
    loading = false;
    await load;
  }
  assert.deepEqual(failures, []);
  assert.ok(calls > 200, `${calls} calls`);

  const after = await it.ring();
  assert.deepEqual([after.host.length, after.user.length], [1, 1]);
  assert.notDeepEqual(after.user[0]!.raw, before.user[0]!.raw);
  assert.notDeepEqual(after.host[0]!.raw, before.host[0]!.raw);
  for (const node of on) {
    assert.equal(trusts(node, "user"), keysFingerprint(after.user));
    assert.match(node.refuses(await issueWith(before, node, it.clock.now()))!, /another CA/);
  }
  // those that were off are offline until they are heard from, and then they are there
  for (const node of off) {
    await assert.rejects(slow.call({ node_id: node.id }), { code: "node_offline" });
    node.start();
  }
  await it.followed();
  for (const node of fleet.nodes) await slow.call({ node_id: node.id });
  assert.equal(
    slow.pin.kind === "trust" && caFingerprint(currentPair(slow.pin.trust)),
    caFingerprint({
      host: after.host[0]!,
      user: after.user[0]!,
    }),
  );
});

Deno.test("ROT-1: a step waits for the nodes that are here, and names them; --force does not wait", async () => {
  await using it = await startRotation(2);
  const { world, fleet } = it;
  await it.step({ step: "init" });
  const early = await world.call("POST", "/v1/ca/rotate", {
    token: world.token,
    body: { step: "update" },
  });
  assert.equal(early.status, 409, early.text);
  assert.match(early.body.error, /2 nodes have not followed yet: n1 \(node_\w+\), n2/);
  assert.match(early.body.hint, /--force/);
  const status = await fleet.control.caStatus();
  assert.deepEqual([status.user.phase, status.user.waiting_count], ["init", 2]);
  assert.equal(status.user.keys.length, 2);
  await fleet.nodes[0]!.stop();
  await it.followed(fleet.nodes.slice(1));
  await fleet.pass(OFFLINE);
  await it.step({ step: "update" }); // the one that is off is not waited for
  const { nodes } = fleet;
  assert.deepEqual(
    (await fleet.control.caStatus()).user.waiting.map(({ id, online }) => [id, online]),
    [
      [nodes[0]!.id, false],
    ],
  );
  nodes[0]!.start(); // and comes back in the middle
  await it.step({ step: "finish", force: true });
  await it.followed();
  const caller = await fleet.caller();
  for (const node of nodes) await caller.call({ node_id: node.id });
  assert.equal((await fleet.control.caStatus()).user.phase, "standby");
});

Deno.test("ROT-1: no step out of its turn", async () => {
  await using it = await startRotation(0);
  const { world } = it;
  const refused = async (step: string) => {
    const reply = await world.call("POST", "/v1/ca/rotate", { token: world.token, body: { step } });
    assert.equal(reply.status, 409, `${step}: ${reply.text}`);
    assert.match(reply.body.hint, /openbox ca status/);
  };
  for (const step of ["update", "finish", "rollback"]) await refused(step);
  await it.step({ step: "init" });
  for (const step of ["init", "finish"]) await refused(step);
  await it.step({ step: "update" });
  for (const step of ["init", "update"]) await refused(step);
  await it.step({ step: "finish" });
  await refused("rollback");
});

Deno.test("ROT-2: a rollback in each phase brings everybody back to the keys of before", async () => {
  await using it = await startRotation(3);
  const { fleet } = it, before = await it.ring();
  const caller = await fleet.caller(), [first] = fleet.nodes;
  for (const until of [["init"], ["init", "update"]]) {
    let next: CaKeyRing | undefined;
    for (const step of until) {
      await it.step({ step });
      next = await it.ring();
      await it.followed();
      for (const node of fleet.nodes) await caller.call({ node_id: node.id });
    }
    await it.step({ step: "rollback" });
    await it.followed();
    for (const node of fleet.nodes) {
      await caller.call({ node_id: node.id });
      assert.equal(trusts(node, "user"), keysFingerprint(before.user));
      assert.equal(trusts(node, "host"), keysFingerprint(before.host));
    }
    const dropped = { host: [next!.host[1]!], user: [next!.user[1]!] };
    const forged = await issueWith(dropped, first!, it.clock.now());
    assert.match(first!.refuses(forged)!, /another CA/);
    assert.deepEqual(
      (await it.ring()).user.map(({ raw }) => raw),
      before.user.map(({ raw }) => raw),
    );
  }
  // and the next rotation works
  for (const step of ["init", "update", "finish"]) {
    await it.step({ step });
    await it.followed();
  }
  for (const node of fleet.nodes) await caller.call({ node_id: node.id });
});

Deno.test("ROT-3: a control plane that is ended in each phase goes on in it", async () => {
  await using it = await startRotation(2);
  const { fleet } = it;
  const caller = await fleet.caller();
  for (const [step, phase] of [["init", "init"], ["update", "update"], ["finish", "standby"]]) {
    await it.step({ step });
    await it.restart();
    const status = await fleet.control.caStatus();
    assert.deepEqual([status.user.phase, status.host.phase], [phase, phase]);
    await it.followed();
    for (const node of fleet.nodes) await caller.call({ node_id: node.id });
  }
});

Deno.test("ROT-4: after an emergency the old CA is refused everywhere online within 60 s, and by the others after their first beat", async () => {
  await using it = await startRotation(6);
  const { fleet, clock } = it, stolen = await it.ring();
  const [off, ...on] = fleet.nodes;
  await off!.stop();
  const caller = await fleet.caller();
  const old = async (node: LightNode) => node.refuses(await issueWith(stolen, node, clock.now()));
  assert.equal(await old(off!), undefined, "it is good until then");
  await it.step({ step: "emergency" });
  assert.deepEqual((await it.ring()).user.length, 1);
  // nobody is certified for a node that cannot take it yet
  await assert.rejects(caller.call({ node_id: on[0]!.id }), (error: OpenboxError) => {
    assert.equal(error.code, "node_offline");
    assert.match(error.hint!, /heartbeat/);
    return true;
  });
  await it.followed(on);
  for (const node of on) {
    assert.match((await old(node))!, /another CA/);
    await caller.call({ node_id: node.id });
  }
  assert.equal(await old(off!), undefined, "who is off cannot know");
  // nor does a caller take a machine for a node that the old host CA says is one
  const { pin } = caller, { hostCert, nodeId } = off!.live.state;
  assert.ok(pin.kind === "trust");
  const policy = { authorities: pin.trust.host.keys, nodeId, now: clock.now() };
  assert.throws(() => verifyHostCert(hostCert.blob, policy), { code: "host_key_mismatch" });
  off!.start();
  await it.followed();
  assert.match((await old(off!))!, /another CA/);
  await caller.call({ node_id: off!.id });
});

Deno.test("ROT-4: an emergency cuts a rotation short, wherever it stands", async () => {
  for (const until of [["init"], ["init", "update"]]) {
    await using it = await startRotation(2);
    const { fleet, clock } = it;
    const caller = await fleet.caller(), late = await fleet.caller(), [node] = fleet.nodes;
    for (const step of until) {
      await it.step({ step });
      await it.followed();
      await caller.call({ node_id: node!.id });
    }
    const { host, user } = await it.ring();
    await it.step({ step: "emergency" });
    await it.followed();
    for (const i of [0, 1]) {
      const former = { host: [host[i]!], user: [user[i]!] };
      assert.match(node!.refuses(await issueWith(former, node!, clock.now()))!, /another CA/);
    }
    await caller.call({ node_id: node!.id });
    await late.call({ node_id: node!.id });
  }
});

Deno.test("ROT-5: a dispatch names the host CA key that this node's certificate is by, for who follows nothing", async () => {
  await using it = await startRotation(2);
  const { fleet } = it, caller = await fleet.caller(), [on, off] = fleet.nodes;
  const named = async (node: LightNode) => (await caller.call({ node_id: node.id })).host_ca_pubkey;
  await it.step({ step: "init", kinds: ["host"] });
  await it.followed();
  await off!.stop();
  await it.step({ step: "update", kinds: ["host"] });
  await it.followed([on!]);
  const { host: [old, next] } = await it.ring();
  assert.equal(await named(on!), authorizedLine(next!));
  assert.equal(await named(off!), authorizedLine(old!), "which did not beat yet");
});

Deno.test("ROT-5: the host CA and the user CA are rotated apart", async () => {
  await using it = await startRotation(2);
  const { fleet } = it, caller = await fleet.caller(), [node] = fleet.nodes;
  const start = await it.ring();
  for (const step of ["init", "update", "finish"]) {
    await it.step({ step, kinds: ["user"] });
    await it.followed();
    await caller.call({ node_id: node!.id });
  }
  const one = await it.ring();
  assert.deepEqual(one.host.map(({ raw }) => raw), start.host.map(({ raw }) => raw));
  assert.notDeepEqual(one.user[0]!.raw, start.user[0]!.raw);
  await it.step({ step: "emergency", kinds: ["host"] });
  await it.followed();
  await caller.call({ node_id: node!.id });
  const two = await it.ring();
  assert.deepEqual(two.user.map(({ raw }) => raw), one.user.map(({ raw }) => raw));
  assert.notDeepEqual(two.host[0]!.raw, one.host[0]!.raw);
  // while one is in a phase, a step without a kind is that one's
  await it.step({ step: "init", kinds: ["host"] });
  await it.followed();
  await it.step({ step: "update" });
  const { host, user } = await fleet.control.caStatus();
  assert.deepEqual([host.phase, user.phase], ["update", "standby"]);
});

Deno.test("ROT-1: an enrollment token from before a rotation is good during and after it", async () => {
  await using it = await startRotation(1);
  const { fleet } = it;
  const tokens = await Promise.all(
    Array.from(
      { length: 4 },
      async () => (await fleet.control.createEnrollToken({ ttl_seconds: 3600 })).token,
    ),
  );
  const caller = await fleet.caller();
  const join = async (name: string) => {
    const node = await fleet.add(name, [], tokens.shift());
    await it.followed();
    await caller.call({ node_id: node.id });
  };
  for (const step of ["init", "update", "finish", "emergency"]) {
    await it.step({ step });
    await join(`during-${step}`);
    await it.followed();
    for (const node of fleet.nodes) await caller.call({ node_id: node.id });
  }
});

Deno.test("400 days, with a rotation in between: no dispatch fails", async () => {
  await using it = await startRotation(3);
  const { fleet, clock, world } = it, DAY = 24 * 3600_000;
  const token = new Secret("obx_" + "a".repeat(40));
  const entry = {
    at: 0,
    accountId: undefined,
    action: "token.create",
    outcome: "allowed",
    actor: "test",
  } as const;
  // a person's token ends by design: this one is made to last
  await world.store.addUserToken(
    world.user,
    {
      token,
      name: "long",
      scopes: "all",
      createdAt: clock.now(),
      expiresAt: clock.now() + 500 * DAY,
    },
    entry,
  );
  fleet.moveTo(world.url, token.reveal());
  const caller = await fleet.caller();
  const certs = new Set<bigint>();
  for (let day = 0; day <= 400; day += 4) {
    clock.advance(4 * DAY);
    await eventually("3 nodes are online", async () => {
      const nodes = await fleet.control.nodes();
      if (nodes.filter((node) => node.online).length === 3) return true;
      clock.advance(31_000); // for one that was in the middle of a beat when the days went by
      return false;
    });
    if (day === 200) {
      for (const step of ["init", "update", "finish"] as const) {
        await fleet.control.rotateCa({ step });
        await it.followed();
      }
    }
    await eventually(
      "the nodes have heard what is new",
      () =>
        fleet.nodes.every(({ live, revocations }) =>
          Number(live.state.hostCert.validBefore) * 1000 > clock.now() &&
          revocations.held!.issuedAt > clock.now() - DAY
        ),
    );
    for (const node of fleet.nodes) {
      await caller.call({ node_id: node.id });
      certs.add(node.live.state.hostCert.serial);
    }
  }
  assert.ok(certs.size >= 3 * 18, `${certs.size} host certificates`);
});

Deno.test("ENR-16: where the control plane was away for longer than a certificate lives, a node is back with its next beat", async () => {
  await using it = await startRotation(1);
  const { fleet, clock } = it, DAY = 24 * 3600_000, [node] = fleet.nodes;
  await node!.stop();
  clock.advance(35 * DAY);
  const caller = await fleet.caller();
  await assert.rejects(caller.call({ node_id: node!.id }), { code: "node_offline" });
  const before = node!.live.state.hostCert.serial;
  node!.start();
  await online(fleet, 1);
  await eventually("it has another certificate", () => node!.live.state.hostCert.serial !== before);
  await caller.call({ node_id: node!.id });
  assert.equal((await fleet.control.nodes()).length, 1, "the same node");
});
