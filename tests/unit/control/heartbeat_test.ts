import assert from "node:assert/strict";
import { verifyHostCert } from "../../../src/ca/verifier.ts";
import { newNodeToken } from "../../../src/ids.ts";
import { Secret } from "../../../src/secret.ts";
import { parseCertificate, parseCertificateLine } from "../../../src/ssh/certificate.ts";
import type { Store } from "../../../src/store/store.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { assertRefused, CA, startWorld, type TestNode, type World } from "./world.ts";

const DAY = 24 * 3600_000;
const beat = (world: World, node: TestNode, more: object = {}, token = node.token) =>
  world.call("POST", "/v1/nodes/heartbeat", { token, body: { node_id: node.id, ...more } });
const show = async (world: World, node: TestNode) =>
  (await world.call("GET", `/v1/nodes/${node.id}`, { token: world.token })).body;
const serialOf = (line: string) => parseCertificate(parseCertificateLine(line)).serial;

Deno.test("a beat makes a node online for 90 seconds, and tells the time", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const node = await world.enroll({ online: false });
  assert.equal((await show(world, node)).online, false);
  const reply = await beat(world, node, { version: "0.1.0", load: [0.1, 0.2, 0.3], new_field: 1 });
  const { revocation_list: _list, ...rest } = reply.body;
  assert.deepEqual(rest, { server_time: clock.now() / 1000, revocations: [] });
  assert.equal((await show(world, node)).last_seen, clock.now() / 1000);
  clock.advance(90_000);
  assert.equal((await show(world, node)).online, true);
  clock.advance(1);
  assert.equal((await show(world, node)).online, false);
});

Deno.test("a time that no Date can tell is refused, so that a node cannot spoil the list of all", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const held = (issued: number) => ({ revocations_version: 1, revocations_issued_at: issued });
  for (const late of [8.64e12 + 1, Number.MAX_SAFE_INTEGER]) {
    assertRefused(await beat(world, node, held(late)), 400, "bad_request");
  }
  assert.equal((await beat(world, node, held(8.64e12))).status, 200);
  await world.store.flush();
  const { status, body } = await world.call("GET", "/v1/nodes", { token: world.token });
  assert.deepEqual([status, body.nodes.length], [200, 1]);
});

Deno.test("ENR-6: a beat that is refused changes nothing, and only the refusal is told", async () => {
  const clock = new FakeClock(), writes: string[] = [];
  const store = watched(await openSqliteStore(IN_MEMORY, { clock }), writes);
  await using world = await startWorld({ clock, store, refusalsPerMinute: 1e6 });
  const node = await world.enroll(), other = await world.enroll({ name: "other" });
  const before = await show(world, node);
  clock.advance(1000);
  writes.length = 0;
  const moved = { addr: "10.9.9.9:7600", version: "9" };
  assertRefused(await beat(world, node, moved, other.token), 401, "unauthorized");
  assertRefused(await beat(world, node, moved, newNodeToken()), 401, "unauthorized");
  assertRefused(await beat(world, node, moved, node.token.toUpperCase()), 401, "unauthorized");
  assertRefused(await beat(world, { ...node, id: "node_x" }, moved), 401, "unauthorized");
  assertRefused(await beat(world, node, moved, world.token), 403, "scope");
  assertRefused(await beat(world, node, { ...moved, addr: "169.254.1.1:1" }), 400, "bad_request");
  assertRefused(await beat(world, node, { ...moved, host_cert_serial: "x" }), 400, "bad_request");
  const noToken = { body: { node_id: node.id, ...moved } };
  const old = await world.call("POST", "/v1/nodes/heartbeat", noToken);
  assertRefused(old, 426, "upgrade_required");
  assert.match(old.body.hint, /openbox agent --server/);
  assert.deepEqual(await show(world, node), before);
  assert.deepEqual(writes, []);
});

/** A store that says which of its changing methods were called. */
function watched(store: Store, writes: string[]): Store {
  const reads = [
    "recordAudit",
    "ping",
    "userByToken",
    "nodeByToken",
    "node",
    "nodes",
    "firstAccount",
    "firstUser",
    "hasUserToken",
  ];
  return new Proxy(store, {
    get(target, name) {
      const method = Reflect.get(target, name);
      if (typeof method !== "function" || reads.includes(String(name))) return method;
      return (...args: unknown[]) => {
        writes.push(String(name));
        return method.apply(target, args);
      };
    },
  });
}

Deno.test("ENR-14: of two machines with one state the newest is refused, and both are flagged", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const node = await world.enroll();
  const from = (boot_id: string, port: number) =>
    beat(world, node, { boot_id, addr: `10.0.0.1:${port}` });
  assert.equal((await from("boot_a", 1)).status, 200);
  assert.equal((await from("boot_b", 2)).status, 200, "started again, as it seems");
  assert.equal((await from("boot_a", 1)).status, 200, "a beat that was under way meanwhile");
  assert.equal((await from("boot_b", 2)).status, 200);
  assert.equal((await show(world, node)).cloned, undefined);
  clock.advance(30_000);
  assert.equal((await from("boot_a", 1)).status, 200, "the one that was there before");
  for (let i = 0; i < 3; i++) {
    assertRefused(await from("boot_b", 2), 403, "node_cloned");
    assert.equal((await from("boot_a", 1)).status, 200);
  }
  const shown = await show(world, node);
  assert.deepEqual([shown.cloned, shown.addr], [true, "10.0.0.1:1"]);
  clock.advance(3_600_000);
  await from("boot_a", 1);
  assert.equal((await show(world, node)).cloned, undefined, "it was not heard for an hour");
  assertRefused(await from("boot_b", 2), 403, "node_cloned");
  assert.equal((await show(world, node)).cloned, true);
});

Deno.test("ENR-14: an agent that is started again, and again, is no copy", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  for (const boot_id of ["boot_a", "boot_b", "boot_b", "boot_c", "boot_d"]) {
    assert.equal((await beat(world, node, { boot_id })).status, 200);
  }
  assert.equal((await show(world, node)).cloned, undefined);
});

Deno.test("ENR-7: the agent of a removed node is told so, whatever it sends", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const removed = await world.call("DELETE", `/v1/nodes/${node.id}`, { token: world.token });
  assert.equal(removed.status, 204);
  assert.equal(removed.text, "");
  for (const more of [{}, { addr: "10.0.0.1:7600" }, { host_cert_serial: "1" }]) {
    assertRefused(await beat(world, node, more), 410, "node_deleted");
  }
  assertRefused(await beat(world, node, {}, newNodeToken()), 401, "unauthorized");
  const gone = await world.call("GET", `/v1/nodes/${node.id}`, { token: world.token });
  assertRefused(gone, 404, "node_not_found");
});

Deno.test("ENR-9: a beat moves the node, and changes nothing that is a person's to say", async () => {
  await using world = await startWorld();
  const node = await world.enroll({ tags: ["a"] });
  const reply = await beat(world, node, {
    addr: "10.0.0.9:7600",
    name: "prod",
    tags: ["prod"],
    account_id: "acc_other",
  });
  assert.equal(reply.status, 200);
  const { addr, name, tags } = await show(world, node);
  assert.deepEqual([addr, name, tags], ["10.0.0.9:7600", "mini", ["a"]]);
});

Deno.test("an address that was allowed when it came stays, though it would be refused now", async () => {
  const clock = new FakeClock();
  const store = await openSqliteStore(IN_MEMORY, { clock });
  // as after a restart on the network: the store is the one of the time on loopback
  await using world = await startWorld({
    clock,
    store,
    env: { OPENBOX_ADDR: "0.0.0.0:0", OPENBOX_INSECURE_HTTP: "1" },
  });
  const node = await world.enroll({ addr: "10.0.0.4:7600", online: false });
  await store.recordBeat(
    (await store.nodeByToken(new Secret(node.token)))!,
    { addr: "127.0.0.1:7600", version: undefined, bootId: undefined, now: 0 },
  );
  assert.equal((await beat(world, node, { addr: "127.0.0.1:7600" })).status, 200);
  assertRefused(await beat(world, node, { addr: "127.0.0.1:7601" }), 400, "bad_request");
});

Deno.test("ENR-16: a host certificate is renewed at two thirds of its life, and after its end", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const node = await world.enroll();
  let serial = serialOf(node.answer.host_cert);
  const renewal = async () => {
    const reply = await beat(world, node, { host_cert_serial: String(serial) });
    assert.equal(reply.status, 200, reply.text);
    return reply.body.host_cert as string | undefined;
  };
  assert.equal(await renewal(), undefined);
  clock.advance(19 * DAY);
  assert.equal(await renewal(), undefined);
  clock.advance(1 * DAY);
  const second = (await renewal())!;
  assert.ok(serialOf(second) > serial);
  // the answer may have been lost: the agent shows the old one again
  const third = (await renewal())!;
  assert.ok(serialOf(third) > serialOf(second));
  serial = serialOf(third);
  assert.equal(await renewal(), undefined);
  const blob = parseCertificateLine(third);
  const policy = { authorities: [CA.host], nodeId: node.id, now: clock.now() };
  assert.deepEqual(verifyHostCert(blob, policy).key.blob, node.key.blob);
  // ENR-16: the control plane was away for longer than the certificate lived
  clock.advance(31 * DAY);
  assert.throws(() => verifyHostCert(blob, { ...policy, now: clock.now() }), {
    code: "host_cert_expired",
  });
  const fourth = parseCertificateLine((await renewal())!);
  verifyHostCert(fourth, { ...policy, now: clock.now() });
});

Deno.test("a beat that names no certificate gets none", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const node = await world.enroll();
  clock.advance(40 * DAY);
  assert.equal((await beat(world, node)).body.host_cert, undefined);
});
