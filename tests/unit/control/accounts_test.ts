import assert from "node:assert/strict";
import fc from "fast-check";
import { newNodeId } from "../../../src/ids.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { ROUTES } from "../../../src/control/routes/table.ts";
import { startWorld } from "./world.ts";

/** A body that each route takes, aimed at the node given. */
const BODIES: Readonly<Record<string, (node: string) => unknown>> = {
  "/v1/nodes/:id": () => ({ name: "taken", tags: ["taken"] }),
  "/v1/dispatch": (node) => ({ node_id: node, client_pubkey: authorizedLine(KEY) }),
  "/v1/nodes/heartbeat": (node) => ({ node_id: node, addr: "10.66.66.66:7600" }),
  "/v1/enroll-tokens": () => ({ tags: ["secret-tag"] }),
  "/v1/nodes/register": () => ({}),
  "/v1/ca/rotate": () => ({ step: "init" }),
  "/v1/ca/seal": () => ({ passphrase: "somebody else's" }),
  "/v1/ca/unseal": () => ({ passphrase: "somebody else's" }),
  "/v1/nodes/runs": () => ({ spool: "a", events: [{ kind: "gap", n: 1, at_ms: 0, dropped: 1 }] }),
  "/v1/audit/verify": () => ({}),
};
const KEY = generateKey();

Deno.test("TOK-7: to another account a node is what one that never was is, on every route", async () => {
  await using world = await startWorld({ refusalsPerMinute: 1e6 });
  const other = await world.newAccount("other");
  const own = await world.enroll({ name: "own", token: other.token });
  const mine = await world.enroll({ name: "secret-name", tags: ["secret-tag"] });
  await world.call("POST", "/v1/dispatch", {
    token: world.token,
    body: { session_id: "secret-session", client_pubkey: authorizedLine(KEY) },
  });
  const before = await world.store.nodes(world.user.accountId, {});
  const isSecret = new RegExp(`secret-|${mine.id}|${world.user.id}|${world.user.accountId}`);

  await fc.assert(
    fc.asyncProperty(
      // the audit tells the caller what he did himself: AUD-9 is about the rest
      fc.constantFrom(...ROUTES.filter(({ path }) => !path.startsWith("/v1/audit"))),
      fc.constantFrom(other.token, own.token),
      fc.constantFrom(mine.id, "secret-name", "secret-session"),
      async (route, token, target) => {
        const reach = async (node: string) => {
          const body = BODIES[route.path]?.(node);
          const reply = await world.call(route.method, route.path.replace(":id", node), {
            token,
            ...(route.method !== "GET" && route.method !== "DELETE" && { body }),
          });
          // what was sent comes back in words, and ids and times of a call are its own
          const text = reply.text.replaceAll(node, "X").replace(/req_\w+/, "")
            .replace(/enroll_[^"]+|ssh-ed25519-cert[^"]+/, "").replace(/"expires_at":\d+/, "")
            .replace(/"server_time":\d+/, "").replace(/"last_seen":\d+/, "");
          return { status: reply.status, text };
        };
        const stranger = target === mine.id ? newNodeId() : "no-such-name";
        const there = await reach(target);
        assert.deepEqual(there, await reach(stranger), route.path);
        assert.doesNotMatch(there.text, isSecret);
      },
    ),
    { numRuns: 150 },
  );
  const listed = await world.call("GET", "/v1/nodes?tag=secret-tag", { token: other.token });
  assert.deepEqual(listed.body.nodes, []);
  const tagged = await world.call("POST", "/v1/dispatch", {
    token: other.token,
    body: { tag: "secret-tag", client_pubkey: authorizedLine(KEY) },
  });
  assert.equal(tagged.status, 404);
  assert.deepEqual(await world.store.nodes(world.user.accountId, {}), before);
  assert.equal((await world.store.sessions(world.user)).length, 1, "the session is there still");
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
