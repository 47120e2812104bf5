import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../../src/clock.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import type { AuditRecord } from "../../../src/store/audit.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { eventually } from "../../fixtures/processes.ts";
import { assertRefused, startWorld, type World } from "./world.ts";

const client_pubkey = authorizedLine(generateKey());
const dispatch = (world: World, body: object) =>
  world.call("POST", "/v1/dispatch", { token: world.token, body: { client_pubkey, ...body } });

const records = async ({ store, user }: World): Promise<readonly AuditRecord[]> =>
  await store.auditRecords(user.accountId, { after: 0, limit: 1000, installation: true });

Deno.test("AUD-4: an act that cannot be recorded does not happen", async () => {
  const directory = await Deno.makeTempDir(), path = `${directory}/openbox.db`;
  try {
    const open = async () => await openSqliteStore(path, { clock: systemClock });
    let node: { readonly id: string; readonly token: string };
    {
      await using world = await startWorld({ store: await open() });
      node = await world.enroll();
    }
    using database = new DatabaseSync(path);
    database.exec(
      `create trigger full before insert on audit when new.action not in ('user.add', 'token.create')
       begin select raise(abort, 'no room'); end`,
    );
    database.close();
    await using world = await startWorld({ store: await open() });
    const { token } = world, at = `/v1/nodes/${node.id}`;
    const beat = { token: node.token, body: { node_id: node.id } };
    assert.equal((await world.call("POST", "/v1/nodes/heartbeat", beat)).status, 200);
    const acts = [
      world.call("POST", "/v1/enroll-tokens", { token, body: {} }),
      world.call("PATCH", at, { token, body: { name: "other", tags: [] } }),
      dispatch(world, { node_id: node.id }),
      dispatch(world, { node_id: node.id, session_id: "s" }),
    ];
    for (const reply of await Promise.all(acts)) assertRefused(reply, 503, "audit_unavailable");
    assert.equal((await world.call("GET", at, { token })).body.name, "mini");
    assert.deepEqual((await world.call("GET", "/v1/sessions", { token })).body.sessions, []);
    // what takes something away does
    assert.equal((await world.call("DELETE", at, { token })).status, 204);
    assertRefused(await world.call("GET", at, { token }), 404, "node_not_found");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("AUD-2: each act is on record exactly once, with who, from where and on what", async () => {
  await using world = await startWorld();
  const { token } = world;
  const node = await world.enroll();
  const before = (await records(world)).length;
  const at = `/v1/nodes/${node.id}`;
  await world.call("PATCH", at, { token, body: { name: "other", tags: ["x"] } });
  await dispatch(world, { node_id: node.id });
  await dispatch(world, { node_id: node.id, session_id: "s" });
  await dispatch(world, { node_id: node.id, session_id: "s" });
  await world.call("DELETE", "/v1/sessions/s", { token });
  await world.call("DELETE", at, { token });
  const told = (await records(world)).slice(before);
  assert.deepEqual(told.map(({ action, subject }) => [action, subject]), [
    ["node.update", node.id],
    ["dispatch", node.id],
    ["session.bind", "s"],
    ["dispatch", node.id],
    ["dispatch", node.id],
    ["session.unbind", "s"],
    ["node.remove", node.id],
  ]);
  for (const { actor, source, tokenId, requestId, outcome } of told) {
    assert.deepEqual([actor, source, outcome], [world.user.id, "127.0.0.1", "allowed"]);
    assert.match(tokenId!, /^tok_/);
    assert.match(requestId!, /^req_/);
  }
});

Deno.test("AUD-2: who is refused is on record with the call and the reason", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  await world.call("GET", "/v1/nodes", { token: "obx_wrong" });
  await world.call("GET", "/v1/nodes", { token: node.token });
  const denied = async () => (await records(world)).filter(({ outcome }) => outcome === "denied");
  await eventually("both are on record", async () => (await denied()).length === 2);
  assert.deepEqual((await denied()).map(({ action, detail }) => [action, detail]), [
    ["request", { call: "GET /v1/nodes", code: "unauthorized" }],
    ["request", {
      call: "GET /v1/nodes",
      code: "scope",
      why: 'This call takes a user token, not one of kind "node"',
    }],
  ]);
});

Deno.test("CERT-29: each certificate has a serial of its own, on record once", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  await Promise.all(Array.from({ length: 200 }, () => dispatch(world, { node_id: node.id })));
  const serials = (await records(world))
    .filter(({ action, subject }) => action === "dispatch" || subject === node.id)
    .filter(({ detail }) => detail!.serial !== undefined)
    .map(({ detail }) => detail!.serial);
  // 200 of users, and the node's
  assert.equal(serials.length, 201);
  assert.equal(new Set(serials).size, 201);
});

Deno.test("a session that its node lost or ended is on record", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  await dispatch(world, { node_id: node.id, session_id: "s" });
  const report = {
    user_id: world.user.id,
    name: "s",
    isolation: "native",
    idle_ms: 0,
    last_exit: 0,
  };
  const beat = (sessions: readonly object[]) =>
    world.call("POST", "/v1/nodes/heartbeat", {
      token: node.token,
      body: { node_id: node.id, sessions },
    });
  await beat([{ ...report, state: "idle" }]);
  await beat([{ ...report, state: "lost" }]);
  await beat([{ ...report, state: "lost" }]);
  await beat([]);
  const told = (await records(world)).filter(({ actor }) => actor === node.id)
    .filter(({ action }) => action.startsWith("session."));
  assert.deepEqual(told.map(({ action, subject }) => [action, subject]), [
    ["session.lost", "s"],
    ["session.end", "s"],
  ]);
});

Deno.test("AUD-7: who looks at himself on and on is told as a login once a minute", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const logins = async () =>
    (await records(world)).filter(({ action }) => action === "login").length;
  const look = () => world.call("GET", "/v1/whoami", { token: world.token });
  for (let i = 0; i < 20; i++) assert.equal((await look()).status, 200);
  assert.equal(await logins(), 1);
  clock.advance(60_000);
  await look();
  assert.equal(await logins(), 2);
});
