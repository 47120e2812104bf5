import assert from "node:assert/strict";
import { startLog } from "../../../src/log.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import { systemClock } from "../../../src/clock.ts";
import { fakeHost } from "../../fakes/host.ts";
import { PASSPHRASE } from "./ca_world.ts";
import { assertRefused, registration, startWorld, type World } from "./world.ts";

/** A control plane with a CA file of its own; `sealed`: it was sealed, and started anew without the passphrase. */
async function startFileWorld(sealed: boolean): Promise<World> {
  const home = await Deno.makeTempDir();
  const env = { OPENBOX_CA_KEY: "", OPENBOX_HOME: home };
  const store = await openSqliteStore(IN_MEMORY, { clock: systemClock });
  const passphrase = { OPENBOX_CA_PASSPHRASE: sealed ? PASSPHRASE.reveal() : "" };
  const kept = { ...store, [Symbol.asyncDispose]: () => Promise.resolve() };
  const first = await startWorld({ store: kept, env: { ...env, ...passphrase } });
  await first.enroll();
  await first[Symbol.asyncDispose]();
  const world = await startWorld({ store, env, refusalsPerMinute: 1e6 });
  return {
    ...world,
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      await Deno.remove(home, { recursive: true });
    },
  };
}

const dispatch = (world: World) =>
  world.call("POST", "/v1/dispatch", {
    token: world.token,
    body: { client_pubkey: authorizedLine(generateKey()), session_id: "s" },
  });
const post = (world: World, path: string, body: unknown, token = world.token) =>
  world.call("POST", path, { token, body });

Deno.test("ROT-6: while the CA is sealed nodes go on beating", async () => {
  await using world = await startFileWorld(false);
  const node = await world.enroll({ name: "second" });
  await post(world, "/v1/ca/seal", { passphrase: PASSPHRASE.reveal() });
  const beat = await world.call("POST", "/v1/nodes/heartbeat", {
    token: node.token,
    body: { node_id: node.id, host_cert_serial: "1" },
  });
  assert.equal(beat.status, 200, beat.text);
});

Deno.test("ROT-6: the CA belongs to those who run the control plane", async () => {
  await using world = await startFileWorld(false);
  const { token } = await world.newAccount("other");
  const calls: [string, string, unknown?][] = [
    ["GET", "/v1/ca"],
    ["POST", "/v1/ca/rotate", { step: "emergency" }],
    ["POST", "/v1/ca/seal", { passphrase: "somebody else's" }],
    ["POST", "/v1/ca/unseal", { passphrase: "somebody else's" }],
  ];
  for (const [method, path, body] of calls) {
    assertRefused(await world.call(method, path, { token, body }), 403, "scope");
    assertRefused(await world.call(method, path, { body }), 401, "unauthorized");
  }
  const { body } = await world.call("GET", "/v1/ca", { token: world.token });
  assert.deepEqual([body.sealed, body.user.phase, body.host.phase], [false, "standby", "standby"]);
});

Deno.test("ROT-1: a rotation is on record, and travels with every answer that names the CA", async () => {
  await using world = await startFileWorld(false);
  const before = (await world.call("GET", "/v1/whoami", { token: world.token })).body;
  assert.equal(before.ca_rotations, undefined, "nothing to tell");
  const wrong = await post(world, "/v1/ca/rotate", { step: "begin" });
  assertRefused(wrong, 400, "bad_request");
  const reply = await post(world, "/v1/ca/rotate", { step: "init", kinds: ["user"] });
  assert.equal(reply.status, 200, reply.text);
  assert.equal(reply.body.user.keys.length, 2);
  const { token } = (await post(world, "/v1/enroll-tokens", {})).body;
  const register = await world.call("POST", "/v1/nodes/register", { body: registration(token) });
  const answers = [
    await world.call("GET", "/v1/whoami", { token: world.token }),
    register,
    await world.call("POST", "/v1/nodes/heartbeat", {
      token: register.body.node_token,
      body: { node_id: register.body.node_id },
    }),
  ];
  for (const { body } of answers) assert.equal(body.ca_rotations.length, 1);
  const { records } = (await world.call("GET", "/v1/audit?limit=100", { token: world.token })).body;
  const told = records.find(({ action }: { action: string }) => action === "ca.rotate");
  assert.equal(told.actor, world.user.id);
  assert.equal(told.detail.step, "init");
});

// the last one: the log that it starts stays for whatever comes after it
Deno.test("ROT-6: sealed, the API is up and issues nothing; unsealed, it goes on, and no log has a passphrase", async () => {
  const host = fakeHost();
  await using log = await startLog(host);
  await using world = await startFileWorld(true);
  assert.equal((await world.call("GET", "/health")).status, 200);
  const me = await world.call("GET", "/v1/whoami", { token: world.token });
  assert.equal(me.status, 200, me.text);
  const refused = await dispatch(world);
  assertRefused(refused, 503, "ca_locked");
  assert.equal(refused.body.hint, "openbox ca unseal");
  assert.deepEqual(await world.store.sessions(world.user), [], "no session was bound for nothing");
  // a token is not spent for a node that could not be certified
  const made = await post(world, "/v1/enroll-tokens", {});
  const body = registration(made.body.token);
  assertRefused(await world.call("POST", "/v1/nodes/register", { body }), 503, "ca_locked");
  const status = await world.call("GET", "/v1/ca", { token: world.token });
  assert.deepEqual([status.body.sealed, status.body.locked], [true, true]);

  const wrong = "quite another passphrase";
  assertRefused(await post(world, "/v1/ca/unseal", { passphrase: wrong }), 403, "wrong_passphrase");
  assertRefused(await post(world, "/v1/ca/unseal", {}), 400, "bad_request");
  const opened = await post(world, "/v1/ca/unseal", { passphrase: PASSPHRASE.reveal() });
  assert.equal(opened.status, 200, opened.text);
  assert.equal(opened.body.locked, false);
  assert.equal((await dispatch(world)).status, 200);
  assert.equal((await world.call("POST", "/v1/nodes/register", { body })).status, 201);
  const again = await world.call("GET", "/v1/whoami", { token: world.token });
  assert.equal(again.body.host_ca_pubkey, me.body.host_ca_pubkey, "the CA that it said it was");

  const { records } = (await world.call("GET", "/v1/audit?limit=100", { token: world.token })).body;
  const told = records.map((record: { action: string; outcome: string }) =>
    `${record.action} ${record.outcome}`
  );
  assert.ok(told.includes("ca.unseal allowed"), told.join());
  assert.ok(told.includes("request denied"));
  await log.flush();
  const said = host.err.text() + JSON.stringify(records);
  for (const secret of [PASSPHRASE.reveal(), wrong, "PRIVATE KEY"]) {
    assert.ok(!said.includes(secret));
  }
});
