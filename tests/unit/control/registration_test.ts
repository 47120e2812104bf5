import assert from "node:assert/strict";
import { verifyHostCert } from "../../../src/ca/verifier.ts";
import { parseEnrollToken, signEnrollProof } from "../../../src/ca/enroll_proof.ts";
import { authorizedLine, fingerprint, generateKey } from "../../../src/ssh/key.ts";
import { parseCertificate, parseCertificateLine } from "../../../src/ssh/certificate.ts";
import { tokenOf } from "./access_world.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { assertRefused, CA, registration, type Reply, startWorld, type World } from "./world.ts";

const enrollToken = async (world: World, body: unknown = {}): Promise<string> =>
  (await world.call("POST", "/v1/enroll-tokens", { token: world.token, body })).body.token;
const register = (world: World, body: unknown): Promise<Reply> =>
  world.call("POST", "/v1/nodes/register", { body });
const nodeCount = async (world: World): Promise<number> =>
  (await world.store.nodes(world.user.accountId, {})).length;

Deno.test("a token, a registration and the node that comes of it", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const made = await world.call("POST", "/v1/enroll-tokens", {
    token: world.token,
    body: { tags: ["gpu", "lab"] },
  });
  assert.equal(made.status, 200);
  const parsed = parseEnrollToken(made.body.token)!;
  assert.equal(parsed.fingerprint, fingerprint(CA.host.blob, CA.user.blob));
  assert.equal(made.body.ca_fingerprint, parsed.fingerprint);
  assert.equal(made.body.expires_at * 1000, clock.now() + 900_000);
  assert.equal(made.body.server, world.url);
  const key = generateKey();
  const reply = await register(world, {
    ...registration(made.body.token, key),
    tags: ["gpu", "prod"],
  });
  assert.equal(reply.status, 201, reply.text);
  assert.match(reply.body.node_id, /^node_[0-9a-f]{16}$/);
  assert.match(reply.body.node_token, /^obn_[A-Za-z0-9]{40}$/);
  assert.equal(reply.body.account_id, world.user.accountId);
  assert.equal(reply.body.ca_pubkey, authorizedLine(CA.user));
  assert.equal(reply.body.user_ca_pubkey, authorizedLine(CA.user));
  assert.equal(reply.body.host_ca_pubkey, authorizedLine(CA.host));
  // ENR-11: what the agent asked for beyond the token is dropped
  assert.deepEqual(reply.body.tags, ["gpu", "lab"]);
  const listed = await world.call("GET", "/v1/nodes", { token: world.token });
  assert.deepEqual(listed.body.nodes, [{
    id: reply.body.node_id,
    name: "mini",
    addr: "127.0.0.1:7600",
    os: "linux",
    arch: "amd64",
    tags: ["gpu", "lab"],
    last_seen: 0,
    created_at: clock.now() / 1000,
    online: false,
    revocations: null,
  }]);
});

Deno.test("ENR-1: of 60 concurrent registers with one token one is let in", async () => {
  await using world = await startWorld();
  const token = await enrollToken(world);
  const replies = await Promise.all(
    Array.from({ length: 60 }, () => register(world, registration(token))),
  );
  assert.equal(replies.filter(({ status }) => status === 201).length, 1);
  const refused = replies.filter(({ status }) => status !== 201);
  assert.equal(refused.length, 59);
  for (const reply of refused) assertRefused(reply, 401, "enroll_token_used");
  assert.equal(await nodeCount(world), 1);
});

Deno.test("ENR-2: a token that is unknown, over, cut or changed is refused in one way", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock, refusalsPerMinute: 1e6 });
  const over = await enrollToken(world);
  clock.advance(900_000);
  const good = await enrollToken(world);
  const [secret, pin] = good.slice("enroll_".length).split(".");
  const swapped = [...secret!].map((c) =>
    c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase()
  );
  const tokens = {
    over,
    unknown: `enroll_${"x".repeat(32)}.${pin}`,
    "31 characters": `enroll_${secret!.slice(1)}.${pin}`,
    "33 characters": `enroll_${secret}a.${pin}`,
    "other case": `enroll_${swapped.join("")}.${pin}`,
    "another CA": `enroll_${secret}.${"A".repeat(43)}`,
    "no CA": `enroll_${secret}`,
    "no token": "x",
  };
  const bodies = new Set<string>();
  for (const [name, token] of Object.entries(tokens)) {
    const parsed = parseEnrollToken(token) ?? parseEnrollToken(good)!, key = generateKey();
    const reply = await register(world, {
      ...registration(good, key),
      enroll_token: token,
      proof: signEnrollProof(parsed, key),
    });
    assertRefused(reply, 401, "enroll_token_invalid");
    bodies.add(JSON.stringify({ ...reply.body, request_id: "" }));
    assert.equal(bodies.size, 1, name);
  }
  assert.equal(await nodeCount(world), 0);
  assert.equal((await register(world, registration(good))).status, 201, "and the good one is good");
});

Deno.test("ENR-2: an expired token takes as long as an unknown one", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock, refusalsPerMinute: 1e6 });
  const over = await enrollToken(world);
  clock.advance(900_000);
  const unknown = `enroll_${"x".repeat(32)}.${over.split(".")[1]}`;
  // other tests have the machine too: the faster calls count, and one quiet round is enough
  const ratios: number[] = [];
  for (let round = 0; round < 4 && !ratios.some((ratio) => ratio > 0.8 && ratio < 1.25); round++) {
    const times: Record<string, number[]> = { [over]: [], [unknown]: [] };
    for (let i = 0; i < 150; i++) {
      for (const token of i % 2 ? [over, unknown] : [unknown, over]) {
        const body = registration(token), started = performance.now();
        await register(world, body);
        times[token]!.push(performance.now() - started);
      }
    }
    const quartile = (token: string) => times[token]!.sort((a, b) => a - b)[37]!;
    ratios.push(quartile(over) / quartile(unknown));
  }
  assert.ok(ratios.some((ratio) => ratio > 0.8 && ratio < 1.25), `ratios ${ratios}`);
});

Deno.test("ENR-4: a key is registered only by who holds it, and a wrong proof spends nothing", async () => {
  await using world = await startWorld({ refusalsPerMinute: 1e6 });
  const token = await enrollToken(world), mine = generateKey(), victim = generateKey();
  const parsed = parseEnrollToken(token)!, other = parseEnrollToken(await enrollToken(world))!;
  const proofs = {
    "another key's": signEnrollProof(parsed, mine),
    "another token's": signEnrollProof(other, victim),
    "another CA's": signEnrollProof({ ...parsed, fingerprint: `SHA256:${"A".repeat(43)}` }, victim),
    empty: "",
    garbage: "AAAA",
    "not base64": "é",
  };
  for (const [name, proof] of Object.entries(proofs)) {
    const reply = await register(world, {
      ...registration(token, mine),
      host_pubkey: authorizedLine(victim),
      proof,
    });
    assertRefused(reply, 401, "key_proof");
    assert.equal(await nodeCount(world), 0, name);
  }
  assert.equal((await register(world, registration(token, victim))).status, 201);
});

Deno.test("ENR-5: a token's life is clamped or refused, and said", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const make = (body: unknown) =>
    world.call("POST", "/v1/enroll-tokens", { token: world.token, body });
  const life = async (body: unknown) => (await make(body)).body.expires_at - clock.now() / 1000;
  assert.equal(await life({}), 900);
  assert.equal(await life(""), 900, "no body at all");
  assert.equal(await life({ ttl_seconds: 1 }), 60);
  assert.equal(await life({ ttl_seconds: 3600 }), 3600);
  assert.equal(await life({ ttl_seconds: 1e9 }), 86_400);
  for (const ttl of ["-5", "0", "9223372036854775807", '"1e9"', "1.5", "1e400", "true", "[]"]) {
    assertRefused(await make(`{"ttl_seconds":${ttl}}`), 400, "bad_request");
  }
});

Deno.test("ENR-5: a token for several nodes lives a month at most, and says so", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const make = (body: unknown) =>
    world.call("POST", "/v1/enroll-tokens", { token: world.token, body });
  const life = async (body: unknown) => (await make(body)).body.expires_at - clock.now() / 1000;
  assert.equal(await life({ reusable: 2, ttl_seconds: 1e9 }), 30 * 86_400);
  assert.equal(await life({ reusable: 2 }), 900);
  assert.equal(await life({ reusable: 1, ttl_seconds: 1e9 }), 86_400);
  for (const reusable of ["0", "-1", "1001", "1.5", '"2"', "null", "1e400"]) {
    assertRefused(await make(`{"reusable":${reusable}}`), 400, "bad_request");
  }
  for (const ephemeral of ["0", "119", "2592001", "1.5", '"10m"']) {
    assertRefused(await make(`{"ephemeral_seconds":${ephemeral}}`), 400, "bad_request");
  }
});

Deno.test("ENR-1: a token for three nodes makes three, with its tags, and is used up then", async () => {
  await using world = await startWorld();
  const token = await enrollToken(world, { reusable: 3, tags: ["ci"], ephemeral_seconds: 600 });
  const replies = await Promise.all(
    Array.from({ length: 20 }, () => register(world, registration(token))),
  );
  const made = replies.filter(({ status }) => status === 201);
  assert.equal(made.length, 3);
  for (const { body } of made) assert.deepEqual(body.tags, ["ci"]);
  for (const reply of replies.filter(({ status }) => status !== 201)) {
    assertRefused(reply, 401, "enroll_token_used");
    assert.match(reply.body.error, /it enrolls 3 nodes/);
  }
  const { nodes } = (await world.call("GET", "/v1/nodes", { token: world.token })).body;
  assert.deepEqual(nodes.map((node: { ephemeral_seconds: number }) => node.ephemeral_seconds), [
    600,
    600,
    600,
  ]);
});

Deno.test("ENR-11: who may make nodes of some tags only makes no others, and sees no others", async () => {
  await using world = await startWorld();
  const { token } = await tokenOf(world, "robot", { rules: ["enroll:tag=ci,tag=lab"] });
  const make = (tags: readonly string[]) =>
    world.call("POST", "/v1/enroll-tokens", { token, body: { tags } });
  for (const tags of [["prod"], ["ci", "prod"], []]) {
    assertRefused(await make(tags), 403, "not_allowed");
  }
  const mine = (await make(["ci"])).body;
  const key = generateKey();
  const reply = await register(world, { ...registration(mine.token, key), tags: ["ci", "prod"] });
  assert.deepEqual(reply.body.tags, ["ci"]);
  const other = (await world.call("POST", "/v1/enroll-tokens", {
    token: world.token,
    body: { tags: ["prod"] },
  })).body;
  const more = (await make(["lab"])).body;
  const listed = (await world.call("GET", "/v1/enroll-tokens", { token })).body.enroll_tokens;
  assert.deepEqual(listed.map(({ id }: { id: string }) => id), [more.id], "the used one is gone");
  const remove = (id: string) => world.call("DELETE", `/v1/enroll-tokens/${id}`, { token });
  assertRefused(await remove(other.id), 403, "not_allowed");
  assertRefused(await remove(mine.id), 404, "not_found");
  assert.equal((await remove(more.id)).status, 204);
});

Deno.test("ENR-10: a node's address must be one that others can be sent to", async () => {
  await using world = await startWorld();
  const token = await enrollToken(world);
  const at = (addr: string) => register(world, { ...registration(token), addr });
  for (const addr of ["169.254.169.254:80", "[::ffff:169.254.169.254]:80", "0:7600", "0.0.0.0:1"]) {
    assertRefused(await at(addr), 400, "bad_request");
  }
  assert.equal((await at("localhost:7600")).status, 201, "this control plane is on loopback");
});

Deno.test("ENR-10: off loopback no node is on loopback", async () => {
  await using world = await startWorld({
    env: { OPENBOX_ADDR: "0.0.0.0:0", OPENBOX_INSECURE_HTTP: "1" },
  });
  const token = await enrollToken(world);
  const at = (addr: string) => register(world, { ...registration(token), addr });
  for (const addr of ["127.0.0.1:7600", "[::1]:7600", "[::ffff:127.0.0.1]:7600", "localhost:1"]) {
    assertRefused(await at(addr), 400, "bad_request");
  }
  assert.equal((await at("10.0.0.4:7600")).status, 201);
});

Deno.test("CERT-24: whatever a node says of itself, its certificate is for its own id", async () => {
  await using world = await startWorld();
  const victim = await world.enroll();
  const token = await enrollToken(world, { tags: [victim.id] });
  const key = generateKey();
  const reply = await register(world, {
    ...registration(token, key),
    name: "mini", // the victim's, as a tag its id
    addr: "127.0.0.1:7600",
    tags: [victim.id],
  });
  assert.equal(reply.status, 201);
  const id: string = reply.body.node_id, blob = parseCertificateLine(reply.body.host_cert);
  assert.notEqual(id, victim.id);
  assert.deepEqual(parseCertificate(blob).principals, [id]);
  const policy = { authorities: [CA.host], nodeId: id, now: Date.now() };
  assert.deepEqual(verifyHostCert(blob, policy).key.blob, key.blob);
  assert.throws(() => verifyHostCert(blob, { ...policy, nodeId: victim.id }), {
    code: "host_key_mismatch",
  });
  const dispatched = await world.call("POST", "/v1/dispatch", {
    token: world.token,
    body: { node_id: victim.id, client_pubkey: authorizedLine(generateKey()) },
  });
  assert.equal(dispatched.body.node_id, victim.id, "an id is its node's, not a name");
});

Deno.test("a host key that a living node has is refused, and the token stays good", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const token = await enrollToken(world);
  const reply = await register(world, registration(token, node.key));
  assertRefused(reply, 409, "conflict");
  assert.match(reply.body.hint, new RegExp(`openbox node rm ${node.id}`));
  assert.equal((await register(world, registration(token))).status, 201);
});

Deno.test("a host key of another account is refused without a word on that account", async () => {
  await using world = await startWorld();
  const stranger = await world.newAccount("stranger");
  const node = await world.enroll({ token: stranger.token, name: "hidden" });
  const reply = await register(world, registration(await enrollToken(world), node.key));
  assertRefused(reply, 409, "conflict");
  assert.doesNotMatch(reply.text, /hidden|node_/);
});

Deno.test("an agent that proves nothing is told to be updated", async () => {
  await using world = await startWorld();
  const { proof: _, ...body } = registration(await enrollToken(world));
  const reply = await register(world, body);
  assertRefused(reply, 426, "upgrade_required");
  assert.match(reply.body.hint, new RegExp(`openbox agent --server ${world.url}`));
  assert.equal(await nodeCount(world), 0);
});

Deno.test("what a registration must not say is refused before the token is spent", async () => {
  await using world = await startWorld();
  const token = await enrollToken(world), good = registration(token);
  const cases: readonly [string, object, string][] = [
    ["no name", { name: "" }, "invalid_name"],
    ["a flag as its name", { name: "-rf" }, "invalid_name"],
    ["a name with a blank", { name: "a b" }, "invalid_name"],
    ["a long name", { name: "a".repeat(65) }, "invalid_name"],
    ["a name with a line", { name: "a\nb" }, "invalid_name"],
    ["a tag with a comma", { tags: ["a,b"] }, "invalid_name"],
    ["a number as its name", { name: 5 }, "invalid_name"],
    ["another system", { os: "plan9" }, "bad_request"],
    ["another machine", { arch: "m68k" }, "bad_request"],
    ["no key", { host_pubkey: "" }, "bad_public_key"],
    ["an RSA key", { host_pubkey: "ssh-rsa AAAAB3NzaC1yc2E=" }, "bad_public_key"],
  ];
  for (const [name, change, code] of cases) {
    const reply = await register(world, { ...good, ...change });
    assert.equal(reply.body.code, code, `${name}: ${reply.text}`);
    assert.equal(reply.status, 400, name);
  }
  assert.equal((await register(world, good)).status, 201);
});

Deno.test("CERT-24: a machine cannot call itself by an id, which rules and targets take too", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const made = await world.call("POST", "/v1/enroll-tokens", { token: world.token, body: {} });
  const body = { ...registration(made.body.token), name: node.id };
  assertRefused(await world.call("POST", "/v1/nodes/register", { body }), 400, "invalid_name");
  const rename = { token: world.token, body: { name: node.id, tags: [] } };
  const patched = await world.call("PATCH", `/v1/nodes/${node.id}`, rename);
  assertRefused(patched, 400, "invalid_name");
});
