import assert from "node:assert/strict";
import { FakeClock } from "../../fakes/clock.ts";
import { done, tokenOf } from "./access_world.ts";
import { assertRefused, startWorld, type World } from "./world.ts";

const DAY = 86_400;
const make = (world: World, token: string, body: object = {}) =>
  world.call("POST", "/v1/tokens", { token, body });
const revoke = (world: World, token: string, id: string, query = "") =>
  world.call("DELETE", `/v1/tokens/${id}${query}`, { token });
const whoami = async (world: World, token: string) =>
  (await world.call("GET", "/v1/whoami", { token })).status;
const list = async (world: World, token: string, query = "") =>
  (await done(world.call("GET", `/v1/tokens${query}`, { token }))).tokens;

Deno.test("a token is told once, and listed with its scopes, its end and its last use", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  clock.advance(1000);
  const made = await done(make(world, world.token, {
    name: "laptop",
    scopes: ["read", "run:tag=ci,isolation=docker"],
    ttl_seconds: 30 * DAY,
  }));
  assert.match(made.token, /^obx_[A-Za-z0-9]{40}$/);
  assert.equal(made.expires_at, clock.now() / 1000 + 30 * DAY);
  clock.advance(5000);
  assert.equal(await whoami(world, made.token), 200);
  const reply = await world.call("GET", "/v1/tokens", { token: world.token });
  assert.doesNotMatch(reply.text, /obx_/);
  const [first, laptop] = reply.body.tokens;
  assert.deepEqual([first.name, first.current, first.scopes], ["bootstrap", true, null]);
  const { token: _, ...rest } = made;
  assert.deepEqual(laptop, {
    ...rest,
    scopes: ["read", "run:tag=ci,isolation=docker"],
    last_used: clock.now() / 1000,
    made_with: first.id,
    current: false,
  });
});

Deno.test("TOK-6: a token with scopes makes no token, whatever its user may", async () => {
  await using world = await startWorld();
  const { token } = await tokenOf(world, "robot", { rules: ["admin"], scopes: ["run:tag=ci"] });
  for (const body of [{}, { scopes: ["run:tag=ci"] }, { scopes: ["read"] }, { user: "me" }]) {
    assertRefused(await make(world, token, body), 403, "scope");
  }
  const { token: admin } = await tokenOf(world, "robot", { scopes: ["admin"] });
  assert.equal((await make(world, admin, { user: "me" })).status, 201, "that one may everything");
});

Deno.test("TOK-6: who administers nothing makes tokens of his own, none that outlives his", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const { users } = await done(world.call("GET", "/v1/users", { token: world.token }));
  assert.equal(users.length, 1);
  const bob = await tokenOf(world, "bob");
  assertRefused(await make(world, bob.token, { user: "me" }), 403, "not_allowed");
  assertRefused(await make(world, bob.token, { user: "nobody" }), 403, "not_allowed");
  clock.advance(10 * DAY * 1000);
  const child = await done(make(world, bob.token));
  assert.equal(child.expires_at, clock.now() / 1000 + 80 * DAY, "with his at the latest");
  const longer = { ttl_seconds: 81 * DAY };
  assertRefused(await make(world, bob.token, longer), 403, "scope");
  assert.equal((await make(world, bob.token, { user: "bob", ttl_seconds: DAY })).status, 201);
  // what its user may not, no scope gives it
  const wide = await done(make(world, bob.token, { scopes: ["admin"] }));
  const users2 = await world.call("GET", "/v1/users", { token: wide.token });
  assertRefused(users2, 403, "not_allowed");
});

Deno.test("TOK-6: an administrator makes tokens of others, for a year at most", async () => {
  await using world = await startWorld();
  const bob = await tokenOf(world, "bob");
  const year = await done(make(world, world.token, { user: bob.userId, ttl_seconds: 365 * DAY }));
  assert.equal(year.user_name, "bob");
  for (const ttl_seconds of [365 * DAY + 1, 59, 0, -1, 1.5, "1d", 2 ** 60]) {
    assertRefused(await make(world, world.token, { ttl_seconds }), 400, "bad_request");
  }
  assertRefused(await make(world, world.token, { scopes: [] }), 400, "bad_request");
  assertRefused(await make(world, world.token, { scopes: ["runn"] }), 400, "grant_invalid");
  assertRefused(await make(world, world.token, { name: "a b" }), 400, "invalid_name");
});

Deno.test("TOK-6: with a stolen token goes all that was made with it", async () => {
  await using world = await startWorld();
  const stolen = await done(make(world, world.token));
  const child = await done(make(world, stolen.token)),
    grandchild = await done(make(world, child.token));
  const enrollment = await done(
    world.call("POST", "/v1/enroll-tokens", { token: grandchild.token, body: { reusable: 100 } }),
  );
  await done(revoke(world, world.token, stolen.id));
  for (const { token } of [stolen, child, grandchild]) {
    assert.equal(await whoami(world, token), 401);
  }
  const waiting = await done(world.call("GET", "/v1/enroll-tokens", { token: world.token }));
  assert.deepEqual(waiting.enroll_tokens, []);
  assert.ok(enrollment.id);
  const records = await world.store.auditRecords(world.user.accountId, { after: 0, limit: 1000 });
  const told = records.find(({ action }) => action === "token.revoke")!;
  assert.equal(told.detail?.tokens, 3);
  assert.equal(told.detail?.token_ids, [stolen.id, child.id, grandchild.id].join(","));
});

Deno.test("a token is revoked by its user, by an administrator, and by itself", async () => {
  await using world = await startWorld();
  const bob = await tokenOf(world, "bob"), other = await tokenOf(world, "bob");
  const narrow = await tokenOf(world, "bob", { scopes: ["read"] });
  const eve = await tokenOf(world, "eve");
  const unknown = await revoke(world, eve.token, "tok_ffffffffffff");
  const foreign = await revoke(world, eve.token, bob.id);
  assertRefused(foreign, 404, "not_found");
  const words = ({ text }: { text: string }) => text.replace(/tok_\w+|req_\w+/g, "");
  assert.equal(words(foreign), words(unknown));
  assertRefused(await revoke(world, narrow.token, bob.id), 403, "scope");
  await done(revoke(world, narrow.token, narrow.id));
  assert.equal(await whoami(world, narrow.token), 401);
  await done(revoke(world, bob.token, other.id));
  assert.equal(await whoami(world, other.token), 401);
  await done(revoke(world, world.token, bob.id));
  assert.equal(await whoami(world, bob.token), 401);
  assertRefused(await revoke(world, world.token, bob.id), 404, "not_found");
});

Deno.test("TOK-6: only an administrator lets stay what a revoked token made", async () => {
  await using world = await startWorld();
  const bob = await tokenOf(world, "bob");
  const child = await done(make(world, bob.token));
  const keep = "?keep_made=true";
  assertRefused(await revoke(world, child.token, bob.id, keep), 403, "not_allowed");
  assertRefused(await revoke(world, bob.token, bob.id, keep), 403, "not_allowed");
  await done(revoke(world, world.token, bob.id, keep));
  assert.deepEqual([await whoami(world, bob.token), await whoami(world, child.token)], [401, 200]);
});

Deno.test("tokens of others are an administrator's to see", async () => {
  await using world = await startWorld();
  const bob = await tokenOf(world, "bob");
  for (const query of ["?all=true", "?user=me", `?user=${world.user.id}`, "?user=nobody"]) {
    const reply = await world.call("GET", `/v1/tokens${query}`, { token: bob.token });
    assertRefused(reply, 403, "not_allowed");
  }
  assert.equal((await list(world, bob.token, "?user=bob")).length, 1);
  assert.equal((await list(world, world.token, "?all=true")).length, 2);
  assert.deepEqual(
    (await list(world, world.token, "?user=bob")).map(({ id }: { id: string }) => id),
    [
      bob.id,
    ],
  );
});

Deno.test("TOK-13: the last administrator stays, unless it is forced", async () => {
  await using world = await startWorld();
  const { token } = world, [mine] = await list(world, token);
  assertRefused(await revoke(world, token, mine.id), 409, "conflict");
  const me = `/v1/users/${world.user.id}`;
  const removed = await world.call("DELETE", me, { token });
  assertRefused(removed, 409, "conflict");
  assert.match(removed.body.hint, /--force.*openbox control --new-token/);
  const { rules } = await done(world.call("GET", "/v1/rules?user=me", { token }));
  const admin = rules.find((rule: { grant: string }) => rule.grant === "admin");
  assertRefused(await world.call("DELETE", `/v1/rules/${admin.id}`, { token }), 409, "conflict");
  assert.equal(await whoami(world, token), 200);
  const boss = await tokenOf(world, "boss", { rules: ["admin"] });
  assertRefused(await world.call("DELETE", me, { token }), 409, "conflict"); // boss's goes with it
  await done(world.call("DELETE", `${me}?keep_made=true`, { token }));
  assert.equal(await whoami(world, token), 401);
  await done(revoke(world, boss.token, boss.id, "?force=true"));
  assert.equal(await whoami(world, boss.token), 401);
});

Deno.test("TOK-10: names that something would read as more than a name are refused", async () => {
  await using world = await startWorld();
  const by = { token: world.token };
  const bad = [
    "",
    "a b",
    "-x",
    "../x",
    "a,b",
    "a\0",
    "\u202ex",
    "'",
    '"',
    "<b>",
    "x".repeat(65),
    5,
  ];
  for (const name of [...bad, world.user.id, "usr_000000000000"]) {
    const reply = await world.call("POST", "/v1/users", { ...by, body: { name } });
    assertRefused(reply, 400, "invalid_name");
  }
  for (const name of bad) {
    assertRefused(await make(world, world.token, { name }), 400, "invalid_name");
    const body = { user: "me", grant: "read", name };
    assertRefused(await world.call("POST", "/v1/rules", { ...by, body }), 400, "invalid_name");
  }
});

Deno.test("TOK-11: a user is looked up as he is written", async () => {
  await using world = await startWorld();
  const by = { token: world.token };
  await tokenOf(world, "bob");
  for (const user of ["bo%", "bo_", "BOB", "' or '1'='1", "bob' --", "bob ", " bob"]) {
    assertRefused(await make(world, world.token, { user }), 404, "not_found");
    const query = encodeURIComponent(user);
    for (const path of [`/v1/tokens?user=${query}`, `/v1/rules?user=${query}`]) {
      assertRefused(await world.call("GET", path, by), 404, "not_found");
    }
    assertRefused(await world.call("DELETE", `/v1/users/${query}`, by), 404, "not_found");
  }
});

Deno.test("a user makes himself sixty tokens a minute; an administrator is not held up", async () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  await using world = await startWorld({ clock });
  const { token } = await tokenOf(world, "ann");
  const turn = async (by: string) => {
    const reply = await make(world, by);
    if (reply.status !== 201) return reply.status;
    await revoke(world, by, reply.body.id);
    return 201;
  };
  for (let i = 0; i < 60; i++) assert.equal(await turn(token), 201);
  assert.equal(await turn(token), 429);
  assert.equal(await turn(world.token), 201);
  clock.advance(1000);
  assert.equal(await turn(token), 201);
});
