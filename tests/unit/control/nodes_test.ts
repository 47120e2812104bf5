import assert from "node:assert/strict";
import { assertRefused, startWorld, type World } from "./world.ts";

const patch = (world: World, id: string, body: unknown) =>
  world.call("PATCH", `/v1/nodes/${id}`, { token: world.token, body });

Deno.test("whoami says who, in which account, and which CA", async () => {
  await using world = await startWorld();
  const { body } = await world.call("GET", "/v1/whoami", { token: world.token });
  assert.equal(body.user_id, world.user.id);
  assert.equal(body.name, "me");
  assert.equal(body.account_id, world.user.accountId);
  assert.match(body.host_ca_pubkey, /^ssh-ed25519 /);
  assert.match(body.user_ca_pubkey, /^ssh-ed25519 /);
  assert.notEqual(body.host_ca_pubkey, body.user_ca_pubkey);
});

Deno.test("nodes are listed by name, and by tag", async () => {
  await using world = await startWorld();
  await world.enroll({ name: "b", tags: ["x"] });
  await world.enroll({ name: "a", tags: ["x", "y"] });
  const names = async (query: string) =>
    (await world.call("GET", `/v1/nodes${query}`, { token: world.token })).body.nodes
      .map(({ name }: { name: string }) => name);
  assert.deepEqual(await names(""), ["a", "b"]);
  assert.deepEqual(await names("?tag="), ["a", "b"]);
  assert.deepEqual(await names("?tag=y"), ["a"]);
  assert.deepEqual(await names("?tag=z"), []);
});

Deno.test("a patch is the full desired state: trimmed, without doubles, null and absent are none", async () => {
  await using world = await startWorld();
  const { id } = await world.enroll({ tags: ["old"] });
  const first = await patch(world, id, { name: " maxi ", tags: [" b ", "a", "b"] });
  assert.equal(first.status, 200);
  assert.equal(first.body.name, "maxi");
  assert.deepEqual(first.body.tags, ["b", "a"]);
  assert.deepEqual((await patch(world, id, { name: "maxi", tags: null })).body.tags, []);
  await patch(world, id, { name: "maxi", tags: ["c"] });
  assert.deepEqual((await patch(world, id, { name: "maxi" })).body.tags, []);
});

Deno.test("TOK-10: names and tags that something would read as more than a name are refused", async () => {
  await using world = await startWorld();
  const { id } = await world.enroll();
  for (const name of [undefined, "", "  "]) {
    const reply = await patch(world, id, { name });
    assertRefused(reply, 400, "invalid_name");
    assert.equal(reply.body.error, "name is required");
  }
  const bad = [
    "a".repeat(65),
    "a\nb",
    "\u202ea",
    "../a",
    "a'b",
    'a"b',
    "a<b",
    "a\0b",
    "a,b",
    "-a",
    "ä",
  ];
  for (const word of bad) {
    assertRefused(await patch(world, id, { name: word }), 400, "invalid_name");
    assertRefused(await patch(world, id, { name: "ok", tags: [word] }), 400, "invalid_name");
    const body = { tags: [word] };
    const reply = await world.call("POST", "/v1/enroll-tokens", { token: world.token, body });
    assertRefused(reply, 400, "invalid_name");
  }
  const many = Array.from({ length: 65 }, (_, i) => `t${i}`);
  assertRefused(await patch(world, id, { name: "ok", tags: many }), 400, "invalid_name");
});

Deno.test("an unknown id is 404, deleted ones too", async () => {
  await using world = await startWorld();
  const { id } = await world.enroll();
  const { token } = world;
  assert.equal((await world.call("DELETE", `/v1/nodes/${id}`, { token })).status, 204);
  for (const unknown of [id, "node_0000000000000000", "mini", "a%2fb", "%00", "%ff"]) {
    const path = `/v1/nodes/${unknown}`;
    assertRefused(await world.call("GET", path, { token }), 404, "node_not_found");
    assertRefused(await world.call("DELETE", path, { token }), 404, "node_not_found");
    assertRefused(await patch(world, unknown, { name: "x" }), 404, "node_not_found");
  }
});

Deno.test("a call that is not there, or not with this method, says so flat", async () => {
  await using world = await startWorld();
  const { token } = world;
  for (const path of ["/v1", "/v1/nothing", "/v1/nodes/", "/v1/nodes/a/b", "/V1/nodes"]) {
    assertRefused(await world.call("GET", path, { token }), 404, "not_found");
  }
  const reply = await world.call("PUT", "/v1/nodes/x", { token });
  assertRefused(reply, 405, "method_not_allowed");
  assert.equal(reply.headers.get("allow"), "GET, PATCH, DELETE");
});

Deno.test("answers are kept by nobody, and are what they say", async () => {
  await using world = await startWorld();
  for (const path of ["/", "/health", "/v1/nodes", "/v1/whoami", "/nothing"]) {
    const { headers } = await world.call("GET", path, { token: world.token });
    assert.equal(headers.get("cache-control"), "no-store", path);
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(headers.get("access-control-allow-origin"), null);
  }
  const { text, headers } = await world.call("GET", "/");
  assert.equal(text, "openbox control plane\n");
  assert.match(headers.get("content-type")!, /^text\/plain/);
});
