import assert from "node:assert/strict";
import fc from "fast-check";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { ROUTES } from "../../../src/control/routes/table.ts";
import { done, tokenOf } from "./access_world.ts";
import { startWorld } from "./world.ts";

/** Bodies that each route takes, aimed at what is given: a node, a user, a session. */
const BODIES: Readonly<Record<string, (target: string) => readonly unknown[]>> = {
  "/v1/nodes/:id": () => [{ name: "taken", tags: ["taken"] }],
  "/v1/dispatch": (target) => [
    { node_id: target, client_pubkey: authorizedLine(KEY) },
    { tag: target, client_pubkey: authorizedLine(KEY) },
  ],
  "/v1/nodes/heartbeat": (target) => [{ node_id: target, addr: "10.66.66.66:7600" }],
  "/v1/enroll-tokens": () => [{ tags: ["own-tag"] }],
  "/v1/nodes/register": () => [{}],
  "/v1/users": () => [{}],
  "/v1/tokens": (target) => [{ user: target }],
  "/v1/rules": (target) => [{ user: target, grant: "admin" }],
  "/v1/can": (target) => [
    { user: target, verb: "run" },
    { node_id: target, verb: "run" },
    { tag: target, verb: "run" },
  ],
  "/v1/revocations": (target) => [
    { kind: "node", id: target },
    { kind: "user", id: target },
    { kind: "token", id: target },
  ],
  "/v1/nodes/revocations": (target) => [{
    node_id: target,
    revocation_list: { payload: "", certificate: "x", signature: "" },
  }],
  "/v1/nodes/runs": () => [{ spool: "a", events: [{ kind: "gap", n: 1, at_ms: 0, dropped: 1 }] }],
  "/v1/audit/verify": () => [{}],
  "/v1/backup": () => [{ passphrase: "somebody else's" }],
  "/v1/ca/rotate": () => [{ step: "init" }],
  "/v1/ca/seal": () => [{ passphrase: "somebody else's" }],
  "/v1/ca/unseal": () => [{ passphrase: "somebody else's" }],
};
const KEY = generateKey();

Deno.test("TOK-7: to another account an object is what one that never was is, on every route", async () => {
  await using world = await startWorld({ refusalsPerMinute: 1e6 });
  const other = await world.newAccount("other");
  const own = await world.enroll({ name: "own", token: other.token });
  const mine = await world.enroll({ name: "secret-name", tags: ["secret-tag"] });
  const robot = await tokenOf(world, "secret-user");
  await world.call("POST", "/v1/dispatch", {
    token: world.token,
    body: { node_id: mine.id, session_id: "secret-session", client_pubkey: authorizedLine(KEY) },
  });
  const by = { token: world.token };
  const enrollment = await done(
    world.call("POST", "/v1/enroll-tokens", {
      ...by,
      body: { reusable: 9, name: "secret-enroll" },
    }),
  );
  const { rules } = await done(world.call("GET", "/v1/rules", by));
  const everything = async () => {
    const paths = ["nodes", "sessions", "users", "rules", "tokens?all=true", "enroll-tokens"];
    const all = await Promise.all(paths.map((path) => world.call("GET", `/v1/${path}`, by)));
    return all.map(({ text }) => text.replaceAll(/"(last_seen|last_used|idle_ms)":\d+/g, ""));
  };
  const before = await everything();
  const objects = {
    [mine.id]: "node_ffffffffffffffff",
    [world.user.id]: "usr_ffffffffffff",
    [robot.userId]: "usr_ffffffffffff",
    [robot.id]: "tok_ffffffffffff",
    [enrollment.id]: "tok_ffffffffffff",
    [rules[0].id]: "rul_ffffffffffff",
    "secret-name": "no-such-name",
    "secret-user": "no-such-name",
    "secret-session": "no-such-name",
    "secret-tag": "no-such-name",
  };
  const isSecret = new RegExp(`secret-|${Object.keys(objects).join("|")}|${world.user.accountId}`);

  await fc.assert(
    fc.asyncProperty(
      // the audit tells the caller what he did himself: AUD-9 is about the rest
      fc.constantFrom(...ROUTES.filter(({ path }) => !path.startsWith("/v1/audit"))),
      fc.constantFrom(other.token, own.token),
      fc.constantFrom(...Object.keys(objects)),
      fc.nat(2),
      async (route, token, target, variant) => {
        const reach = async (named: string) => {
          const bodies = BODIES[route.path]?.(named);
          const path = `${route.path.replace(":id", named)}?user=${named}&tag=${named}`;
          const reply = await world.call(route.method, path, {
            token,
            ...(route.method !== "GET" && route.method !== "DELETE" &&
              { body: bodies?.[variant % bodies.length] }),
          });
          // what was sent comes back in words, and ids and times of a call are its own
          const text = reply.text.replaceAll(named, "X").replace(/req_\w+/, "")
            .replace(/enroll_[^"]+|ssh-ed25519-cert[^"]+/, "").replace(/"expires_at":\d+/, "")
            .replace(/"server_time":\d+/, "").replace(/"last_seen":\d+/, "")
            .replace(/"id":"tok_\w+"/, "");
          return { status: reply.status, text };
        };
        const there = await reach(target);
        assert.deepEqual(there, await reach(objects[target]!), `${route.method} ${route.path}`);
        assert.doesNotMatch(there.text, isSecret);
      },
    ),
    { numRuns: 600 },
  );
  const tagged = await world.call("POST", "/v1/dispatch", {
    token: other.token,
    body: { tag: "secret-tag", client_pubkey: authorizedLine(KEY) },
  });
  assert.equal(tagged.status, 404);
  assert.deepEqual(await everything(), before, "nothing was changed");
  // who is called the same in two accounts is two users
  const named = { token: other.token, body: { name: "secret-user" } };
  assert.notEqual((await done(world.call("POST", "/v1/users", named))).id, robot.userId);
});

Deno.test("TOK-7: every route with a target is tried", () => {
  const withBody = ROUTES.filter(({ method }) => method === "POST" || method === "PATCH");
  for (const { path } of withBody) assert.ok(path in BODIES, path);
});

Deno.test("TOK-7: a token makes nodes of its own account", async () => {
  await using world = await startWorld();
  const other = await world.newAccount("other");
  const node = await world.enroll({ token: other.token });
  assert.equal(node.answer.account_id, other.user.accountId);
  assert.deepEqual(await world.store.nodes(world.user.accountId, {}), []);
});
