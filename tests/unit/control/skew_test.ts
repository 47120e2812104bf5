/** Callers and agents that are of another version than the control plane. */
import assert from "node:assert/strict";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { assertRefused, startWorld } from "./world.ts";

const client_pubkey = authorizedLine(generateKey());

/** What a newer caller might want held, in requests that are good without it. */
const NEWER: readonly (readonly [path: string, body: Record<string, unknown>])[] = [
  ["/v1/dispatch", { client_pubkey, tag: "gpu", max_runs: 1 }],
  ["/v1/tokens", { name: "t", max_uses: 1 }],
  ["/v1/users", { name: "ann", expires_at: 1 }],
  ["/v1/rules", { user: "me", grant: "read", until: 1 }],
  ["/v1/enroll-tokens", { tags: [], from_addresses: ["10.0.0.0/8"] }],
  ["/v1/can", { verb: "run", at: "night" }],
  ["/v1/revocations", { kind: "user", id: "me", only_before: 1 }],
  ["/v1/ca/rotate", { step: "init", approved_by: "ann" }],
  ["/v1/backup", { without_ca: true, without_users: true }],
];

Deno.test("INS-7: what a newer caller wants held and this control plane would not hold is refused, and nothing done", async () => {
  await using world = await startWorld();
  await world.enroll({ tags: ["gpu"], online: true });
  const before = await world.call("GET", "/v1/tokens?all=true", { token: world.token });
  for (const [path, body] of NEWER) {
    const reply = await world.call("POST", path, { token: world.token, body });
    assertRefused(reply, 426, "upgrade_required");
    assert.match(reply.body.error, new RegExp(`does not know "${Object.keys(body).at(-1)}"`), path);
  }
  const after = await world.call("GET", "/v1/tokens?all=true", { token: world.token });
  assert.deepEqual(after.body.tokens.length, before.body.tokens.length);
  const users = await world.call("GET", "/v1/users", { token: world.token });
  assert.deepEqual(users.body.users.map(({ name }: { name: string }) => name), ["me"]);
});

Deno.test("INS-7: an agent of a newer version beats here, whatever else it tells", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const reply = await world.call("POST", "/v1/nodes/heartbeat", {
    token: node.token,
    body: { node_id: node.id, version: "99.0.0", temperature: 40 },
  });
  assert.equal(reply.status, 200, reply.text);
});

Deno.test("INS-7: the Go program's requests are taken as they are", async () => {
  await using world = await startWorld();
  const node = await world.enroll({ tags: ["gpu"], online: true });
  const { token } = world;
  for (
    const [path, body, status] of [
      ["/v1/dispatch", { tag: "gpu", node_id: "", session_id: "", client_pubkey }, 200],
      ["/v1/enroll-tokens", { tags: null, ttl_seconds: 900 }, 200],
    ] as const
  ) {
    const reply = await world.call("POST", path, { token, body });
    assert.equal(reply.status, status, reply.text);
  }
  const patched = await world.call("PATCH", `/v1/nodes/${node.id}`, {
    token,
    body: { id: node.id, name: "box", tags: ["gpu"], online: true },
  });
  assert.equal(patched.status, 200, patched.text);
});
