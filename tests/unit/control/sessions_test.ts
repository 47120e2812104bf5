import assert from "node:assert/strict";
import { verifyUserCert } from "../../../src/ca/verifier.ts";
import { parseCertificateLine } from "../../../src/ssh/certificate.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { assertRefused, CA, startWorld, type TestNode, type World } from "./world.ts";

const KEY = generateKey();
const dispatch = (world: World, body: object, token = world.token) =>
  world.call("POST", "/v1/dispatch", {
    token,
    body: { client_pubkey: authorizedLine(KEY), ...body },
  });
const list = async (world: World, token = world.token) =>
  (await world.call("GET", "/v1/sessions", { token })).body.sessions;
const remove = (world: World, name: string, query = "") =>
  world.call("DELETE", `/v1/sessions/${name}${query}`, { token: world.token });

async function beat(world: World, node: TestNode, sessions?: object[]) {
  const body = { node_id: node.id, ...(sessions && { sessions }) };
  const reply = await world.call("POST", "/v1/nodes/heartbeat", { token: node.token, body });
  assert.equal(reply.status, 200, reply.text);
  return reply.body;
}

const report = (world: World, name: string, change: object = {}) => ({
  user_id: world.user.id,
  name,
  isolation: "native",
  idle_ms: 0,
  last_exit: 0,
  state: "idle",
  ...change,
});

Deno.test("SEQ-2: the first call binds a session to its node, the certificate names it", async () => {
  await using world = await startWorld();
  const b = await world.enroll({ name: "b", tags: ["x"] });
  const first = await dispatch(world, { session_id: "build", tag: "x" });
  assert.deepEqual([first.status, first.body.node_id, first.body.session_created], [
    200,
    b.id,
    true,
  ]);
  await world.enroll({ name: "a", tags: ["x"] }); // before it by name
  for (const target of [{}, { tag: "x" }, { node_id: b.id }, { node_id: "b" }]) {
    const { body } = await dispatch(world, { session_id: "build", ...target });
    assert.deepEqual([body.node_id, body.session_created, body.isolation], [b.id, false, "native"]);
    const user = verifyUserCert(parseCertificateLine(body.user_cert), {
      authorities: [CA.user],
      username: "me",
      accountId: world.user.accountId,
      nodeId: b.id,
      now: Date.now(),
      remoteAddress: "10.0.0.1",
    });
    assert.deepEqual([user.session, user.isolation], ["build", "native"]);
  }
});

Deno.test("SES-8: another node or a tag that its node lacks is refused, naming where it lives", async () => {
  await using world = await startWorld();
  const b = await world.enroll({ name: "b", tags: ["x"] });
  await dispatch(world, { session_id: "build", tag: "x" });
  await world.enroll({ name: "a", tags: ["y"] });
  for (const target of [{ tag: "y" }, { tag: "none" }, { node_id: "a" }, { node_id: "nobody" }]) {
    const reply = await dispatch(world, { session_id: "build", ...target });
    assertRefused(reply, 409, "session_bound_elsewhere");
    assert.match(reply.body.error, new RegExp(`lives on the node b \\(${b.id}\\)`));
  }
});

Deno.test("SES-7, SEQ-15: another isolation than the session's is refused", async () => {
  await using world = await startWorld();
  await world.enroll();
  const kinds = ["native", "docker:debian", "docker:debian:12", "nspawn:/srv/x", "nspawn:/srv/y"];
  for (const [index, own] of kinds.entries()) {
    const session_id = `s${index}`;
    const first = await dispatch(world, { session_id, isolation: own });
    assert.deepEqual([first.status, first.body.isolation], [200, own]);
    for (const isolation of kinds) {
      const reply = await dispatch(world, { session_id, isolation });
      if (isolation === own) assert.equal(reply.status, 200);
      else assertRefused(reply, 409, "session_isolation_mismatch");
    }
    assert.equal((await dispatch(world, { session_id })).body.isolation, own);
  }
});

Deno.test("two callers at once get the same node", async () => {
  await using world = await startWorld();
  await world.enroll({ name: "a", tags: ["a"] });
  await world.enroll({ name: "b", tags: ["b"] });
  for (let round = 0; round < 10; round++) {
    const name = `s${round}`;
    const replies = await Promise.all(
      Array.from(
        { length: 6 },
        (_, i) => dispatch(world, { session_id: name, tag: i % 2 ? "a" : "b" }),
      ),
    );
    const good = replies.filter(({ status }) => status === 200);
    assert.equal(new Set(good.map(({ body }) => body.node_id)).size, 1);
    assert.equal(good.filter(({ body }) => body.session_created).length, 1);
    for (const reply of replies) {
      if (reply.status !== 200) assertRefused(reply, 409, "session_bound_elsewhere");
    }
  }
});

Deno.test("SES-13: a name has one form, and is its user's own", async () => {
  await using world = await startWorld();
  await world.enroll();
  for (
    const session_id of ["a b", "a/b", "a:b", "a\0", "\u00e9", "e\u0301", "-a", "x".repeat(65)]
  ) {
    assertRefused(await dispatch(world, { session_id }), 400, "invalid_name");
  }
  assert.equal((await dispatch(world, { session_id: "" })).body.session_created, false);
  assert.deepEqual(await list(world), []);
  await dispatch(world, { session_id: "build" });
  const other = await world.newAccount("other");
  await world.enroll({ token: other.token });
  assert.equal(
    (await dispatch(world, { session_id: "build" }, other.token)).body.session_created,
    true,
  );
  await dispatch(world, { session_id: "Build" });
  assert.equal((await list(world)).length, 2);
  assert.equal((await list(world, other.token)).length, 1);
});

Deno.test("SEQ-12: the list shows what the node said last, most recent first", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const node = await world.enroll();
  await dispatch(world, { session_id: "old" });
  clock.advance(10_000);
  await dispatch(world, { session_id: "build" });
  const created = { created_at: clock.now() / 1000, last_used: clock.now() / 1000 };
  const build = { session_id: "build", node_id: node.id, node_name: "mini", isolation: "native" };
  const [first, second] = await list(world);
  assert.deepEqual(first, { ...build, ...created, idle_ms: 0, last_exit: null, state: "new" });
  assert.equal(second.session_id, "old");

  clock.advance(60_000);
  await beat(world, node, [
    report(world, "build", { idle_ms: 20_000, last_exit: 3 }),
    report(world, "old", { state: "busy" }),
  ]);
  const now = await list(world);
  const seen = (name: string) => now.find((one: { session_id: string }) => one.session_id === name);
  assert.deepEqual([seen("build").state, seen("build").idle_ms, seen("build").last_exit], [
    "idle",
    20_000,
    3,
  ]);
  assert.deepEqual([seen("old").state, seen("old").idle_ms], ["busy", 0]);

  await beat(world, node, [report(world, "build")]);
  assert.equal(
    (await list(world)).find((s: { session_id: string }) => s.session_id === "old").state,
    "ended",
  );
  clock.advance(120_000);
  assert.deepEqual((await list(world)).map((s: { state: string }) => s.state), [
    "offline",
    "offline",
  ]);
  assertRefused(await dispatch(world, { session_id: "build" }), 503, "node_offline");
});

Deno.test("SES-11: what a node lost is shown lost with its next heartbeat", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  await dispatch(world, { session_id: "build" });
  await beat(world, node, [report(world, "build", { last_exit: 4 })]);
  await beat(world, node, [report(world, "build", { state: "lost", last_exit: null })]);
  const [{ state, last_exit }] = await list(world);
  assert.deepEqual([state, last_exit], ["lost", 4]);
});

Deno.test("SES-17: a DELETE unbinds, and the node is told to end it until it has", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  await dispatch(world, { session_id: "build" });
  await beat(world, node, [report(world, "build")]);
  assert.equal((await remove(world, "build")).status, 204);
  assertRefused(await remove(world, "build"), 404, "not_found");
  assert.deepEqual(await list(world), []);
  const early = await dispatch(world, { session_id: "build" });
  assertRefused(early, 409, "conflict");
  assert.match(early.body.error, /is being ended/);
  const ends = [{ user_id: world.user.id, name: "build" }];
  for (let i = 0; i < 2; i++) {
    assert.deepEqual((await beat(world, node, [report(world, "build")])).end_sessions, ends);
  }
  assert.equal((await beat(world, node)).end_sessions, undefined);
  assert.equal((await dispatch(world, { session_id: "build" })).body.session_created, true);
});

Deno.test("SES-17: where its caller has ended the shell, the name is free at once", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  await dispatch(world, { session_id: "build" });
  assert.equal((await remove(world, "build", "?ended=true")).status, 204);
  assert.equal((await dispatch(world, { session_id: "build" })).body.session_created, true);
  assert.equal((await beat(world, node, [report(world, "build")])).end_sessions, undefined);
  const strange = await beat(world, node, [report(world, "nobody-is-bound-to-it")]);
  assert.deepEqual(strange.end_sessions.length, 1);
});

Deno.test("removing a node drops the bindings to it", async () => {
  await using world = await startWorld();
  const a = await world.enroll({ name: "a" });
  await dispatch(world, { session_id: "build" });
  await world.call("DELETE", `/v1/nodes/${a.id}`, { token: world.token });
  assert.deepEqual(await list(world), []);
  const b = await world.enroll({ name: "b" });
  const { body } = await dispatch(world, { session_id: "build" });
  assert.deepEqual([body.node_id, body.session_created], [b.id, true]);
});

Deno.test("TOK-7: a session of another account is one that never was; a node speaks of its own alone", async () => {
  await using world = await startWorld();
  const other = await world.newAccount("other");
  const node = await world.enroll(), theirs = await world.enroll({ token: other.token });
  await dispatch(world, { session_id: "secret" });
  const call = (name: string) =>
    world.call("DELETE", `/v1/sessions/${name}`, { token: other.token });
  const [there, never] = [await call("secret"), await call("stranger")];
  assertRefused(there, 404, "not_found");
  assert.equal(there.body.error.replace("secret", "X"), never.body.error.replace("stranger", "X"));
  assert.equal((await list(world, other.token)).length, 0);
  await beat(world, node, [report(world, "secret")]);
  const answer = await beat(world, theirs, [report(world, "secret", { state: "lost" })]);
  assert.equal(answer.end_sessions.length, 1, "its own session of nobody");
  assert.equal((await list(world))[0].state, "idle");
});
