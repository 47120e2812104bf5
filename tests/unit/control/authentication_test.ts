import assert from "node:assert/strict";
import { newUserToken } from "../../../src/ids.ts";
import { authorizedLine, generateKey } from "../../../src/ssh/key.ts";
import { ROUTES } from "../../../src/control/routes/table.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { assertRefused, registration, startWorld, type TestNode, type World } from "./world.ts";

type Kind = "none" | "malformed" | "user" | "node" | "enrollment";
const KINDS: readonly Kind[] = ["none", "malformed", "user", "node", "enrollment"];

/** What each rule answers each kind of token; 0 stands for "let in", whatever the call then says. */
const MUST: Readonly<Record<string, Readonly<Record<Kind, readonly [number, string]>>>> = {
  public: {
    none: [0, ""],
    malformed: [0, ""],
    user: [0, ""],
    node: [0, ""],
    enrollment: [0, ""],
  },
  user: {
    none: [401, "unauthorized"],
    malformed: [401, "unauthorized"],
    user: [0, ""],
    node: [403, "scope"],
    enrollment: [403, "scope"],
  },
  node: {
    none: [426, "upgrade_required"],
    malformed: [401, "unauthorized"],
    user: [403, "scope"],
    node: [0, ""],
    enrollment: [403, "scope"],
  },
  // there the token is in the body
  enroll_token: {
    none: [400, "bad_request"],
    malformed: [401, "enroll_token_invalid"],
    user: [401, "enroll_token_invalid"],
    node: [401, "enroll_token_invalid"],
    enrollment: [0, ""],
  },
};

async function tokens(world: World, node: TestNode): Promise<Record<Kind, string | undefined>> {
  const made = await world.call("POST", "/v1/enroll-tokens", { token: world.token, body: {} });
  return {
    none: undefined,
    malformed: "nonsense",
    user: world.token,
    node: node.token,
    enrollment: made.body.token,
  };
}

for (const route of ROUTES) {
  Deno.test(`TOK-4: ${route.method} ${route.path} with every kind of token`, async () => {
    await using world = await startWorld({ refusalsPerMinute: 1e6 });
    const node = await world.enroll();
    const held = await tokens(world, node);
    const must = MUST[route.auth];
    assert.ok(must, `a rule for ${route.auth}`);
    for (const kind of KINDS) {
      const token = held[kind], [status, code] = must[kind];
      const inBody = route.auth === "enroll_token";
      const reply = await world.call(route.method, route.path.replace(":id", "node_unknown"), {
        ...(!inBody && token !== undefined && { token }),
        ...(route.method === "POST" || route.method === "PATCH"
          ? {
            body: inBody
              ? { ...registration(held.enrollment!), enroll_token: token }
              : bodies(route.path, node),
          }
          : {}),
      });
      if (status > 0) {
        assertRefused(reply, status, code);
        if (status === 401) assert.equal(reply.headers.get("www-authenticate"), "Bearer");
      } else {
        assert.ok(![401, 403, 426, 500].includes(reply.status), `${kind}: ${reply.text}`);
      }
    }
  });
}

function bodies(path: string, node: TestNode): unknown {
  switch (path) {
    case "/v1/dispatch":
      return { client_pubkey: authorizedLine(generateKey()) };
    case "/v1/nodes/:id":
      return { name: "mini" };
    case "/v1/nodes/heartbeat":
      return { node_id: node.id };
    default:
      return {};
  }
}

Deno.test("TOK-4: a heartbeat with a good token is let in, for its own node", async () => {
  await using world = await startWorld();
  const node = await world.enroll(), other = await world.enroll({ name: "other" });
  const beat = (id: string) =>
    world.call("POST", "/v1/nodes/heartbeat", { token: node.token, body: { node_id: id } });
  assert.equal((await beat(node.id)).status, 200);
  assertRefused(await beat(other.id), 401, "unauthorized");
});

Deno.test("TOK-1: a token counts in the Authorization header alone, in one form", async () => {
  await using world = await startWorld({ refusalsPerMinute: 1e6 });
  const { token } = world;
  const whoami = (authorization: string) =>
    world.call("GET", "/v1/whoami", { headers: { authorization } });
  for (const good of [`Bearer ${token}`, `bearer ${token}`, `BEARER  ${token}`]) {
    assert.equal((await whoami(good)).status, 200, good);
  }
  for (
    const bad of [
      token,
      `Basic ${token}`,
      `Bearer${token}`,
      `Bearer ${token} x`,
      `Bearer ${token}, Bearer ${token}`,
      `Bearer ${token.toLowerCase()}`,
      `Bearer ${token}x`,
      `Bearer ${token.slice(0, -1)}`,
      `Bearer obx_${"a".repeat(10_000)}`,
      "Bearer",
    ]
  ) {
    assertRefused(await whoami(bad), 401, "unauthorized");
  }
  assertRefused(await world.call("GET", `/v1/whoami?token=${token}`), 401, "unauthorized");
  const cookie = { cookie: `token=${token}` };
  assertRefused(await world.call("GET", "/v1/whoami", { headers: cookie }), 401, "unauthorized");
});

Deno.test("a token ends when its time is over", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const { token } = world;
  const reply = await world.call("GET", "/v1/whoami", { token });
  assert.equal(reply.body.token_expires_at * 1000, clock.now() + 90 * 24 * 3600_000);
  clock.advance(90 * 24 * 3600_000);
  assertRefused(await world.call("GET", "/v1/whoami", { token }), 401, "unauthorized");
});

Deno.test("TOK-2: guessing is slowed down, and locks nobody out", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({ clock });
  const guess = () => world.call("GET", "/v1/whoami", { token: newUserToken() });
  for (let i = 0; i < 20; i++) assertRefused(await guess(), 401, "unauthorized");
  const reply = await guess();
  assertRefused(reply, 429, "too_many");
  assert.equal(reply.headers.get("retry-after"), "3");
  // from the same address, which may be everybody's behind one router
  assert.equal((await world.call("GET", "/v1/whoami", { token: world.token })).status, 200);
  // and what a header says of the address changes nothing
  const forwarded = { "x-forwarded-for": "203.0.113.7", forwarded: "for=203.0.113.7" };
  assertRefused(
    await world.call("GET", "/v1/whoami", { token: newUserToken(), headers: forwarded }),
    429,
    "too_many",
  );
  clock.advance(3000);
  assertRefused(await guess(), 401, "unauthorized");
});

Deno.test("TOK-17: a call that names another host is not answered", async () => {
  await using world = await startWorld({ env: { OPENBOX_PUBLIC_URL: "https://box.example.com" } });
  const call = (host: string, path: string) => rawStatus(world.url, host, path);
  for (const host of ["127.0.0.1:1", "localhost", "box.example.com", "[::1]:8080"]) {
    assert.equal(await call(host, "/health"), 200, host);
  }
  for (const path of ["/", "/v1/whoami", "/nothing"]) {
    assert.equal(await call("evil.example", path), 421, path);
  }
  // whoever looks whether we live asks by whatever name he has
  assert.equal(await call("evil.example", "/health"), 200);
  assert.equal(await call("a b", "/health"), 400);
});

Deno.test("TOK-1: of two Authorization headers none counts", async () => {
  await using world = await startWorld();
  const good = `Authorization: Bearer ${world.token}\r\n`,
    other = "Authorization: Bearer obx_x\r\n";
  const status = (more: string) => rawStatus(world.url, "localhost", "/v1/whoami", more);
  assert.equal(await status(good), 200);
  for (const two of [good + other, other + good, good + good]) assert.equal(await status(two), 401);
});

/** fetch sends the host it connects to, and each header once; this sends what it is told. */
async function rawStatus(url: string, host: string, path: string, more = ""): Promise<number> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`;
  await connection.write(new TextEncoder().encode(request));
  const [, status] = /^HTTP\/1\.1 (\d+)/.exec(await new Response(connection.readable).text()) ?? [];
  return Number(status);
}
