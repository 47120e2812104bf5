import assert from "node:assert/strict";
import fc from "fast-check";
import { newUserToken } from "../../../src/ids.ts";
import {
  LOOPBACK_NETWORKS,
  parseProxies,
  readArrival,
  trustProxies,
} from "../../../src/control/forwarded.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { assertRefused, startWorld } from "./world.ts";

const proxies = trustProxies(parseProxies("10.0.0.0/8,fd00::/8,192.0.2.1", "test"));
const PUBLIC = "https://box.example.com";

function arrive(
  remoteAddress: string,
  headers: Record<string, string>,
  publicUrl: string | undefined = PUBLIC,
) {
  return readArrival({ headers, socket: { remoteAddress } }, "http://10.0.0.1:8080/v1/whoami?x", {
    proxies,
    publicUrl,
  });
}
const source = (peer: string, hops: string) => arrive(peer, { "x-forwarded-for": hops }).source;

Deno.test("TOK-18: the source is the nearest hop that is no proxy of ours", () => {
  assert.equal(source("10.0.0.1", "203.0.113.7"), "203.0.113.7");
  // what the caller wrote itself stands farther away
  assert.equal(source("10.0.0.1", "198.51.100.9, 203.0.113.7"), "203.0.113.7");
  assert.equal(source("10.0.0.1", "1.1.1.1,203.0.113.7,10.9.9.9 , 192.0.2.1"), "203.0.113.7");
  assert.equal(source("::ffff:10.0.0.1", "203.0.113.7"), "203.0.113.7");
  assert.equal(source("fd00::1", "2001:db8::7"), "2001:db8::7");
  assert.equal(source("fd00::1", "[2001:db8::7]:4711"), "2001:db8::7");
  assert.equal(source("10.0.0.1", "203.0.113.7:4711"), "203.0.113.7");
  assert.equal(source("10.0.0.1", "::ffff:203.0.113.7"), "203.0.113.7");
  // all the way from inside
  assert.equal(source("10.0.0.1", "10.1.1.1, 10.2.2.2"), "10.1.1.1");
});

Deno.test("TOK-18: what is no address ends the way at the last proxy", () => {
  for (const junk of ["", "unknown", "_hidden", "203.0.113.7, evil", "1.2.3", '203.0.113.7,"x"']) {
    assert.equal(source("10.0.0.1", junk), "10.0.0.1", junk);
  }
  assert.equal(source("10.0.0.1", "203.0.113.7, unknown, 10.2.2.2"), "10.2.2.2");
});

Deno.test("TOK-18: from anybody but a proxy no header is believed", () => {
  const headers = {
    "x-forwarded-for": "198.51.100.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.example",
    "forwarded": "for=198.51.100.9",
  };
  assert.deepEqual(arrive("203.0.113.7", headers), {
    source: "203.0.113.7",
    origin: "http://10.0.0.1:8080",
    hostnames: ["10.0.0.1"],
    viaProxy: false,
  });
  fc.assert(
    fc.property(fc.string(), fc.string(), (peer, text) => {
      const arrival = arrive(`x${peer}`, { "x-forwarded-for": text, "x-forwarded-host": text });
      assert.deepEqual([arrival.viaProxy, arrival.hostnames], [false, ["10.0.0.1"]]);
    }),
  );
});

Deno.test("scheme and host are the nearest proxy's; without a word of it the public URL's scheme", () => {
  const origin = (headers: Record<string, string>, publicUrl?: string) =>
    arrive("10.0.0.1", headers, publicUrl).origin;
  const host = { "x-forwarded-host": "evil.example, box.example.com:8443" };
  assert.equal(origin({ ...host, "x-forwarded-proto": "http,HTTPS" }), `${PUBLIC}:8443`);
  assert.equal(origin({ ...host, "x-forwarded-proto": "ftp" }), `${PUBLIC}:8443`);
  assert.equal(origin({ "x-forwarded-proto": "http" }), "http://10.0.0.1:8080");
  assert.equal(origin({}), "https://10.0.0.1:8080");
});

Deno.test("TOK-17: behind a proxy each name that a request gives must be ours", async () => {
  await using world = await startWorld({ env: { OPENBOX_PUBLIC_URL: PUBLIC } });
  const whoami = (host: string) =>
    world.call("GET", "/v1/whoami", { token: world.token, headers: { "x-forwarded-host": host } });
  assert.equal((await whoami("box.example.com")).status, 200);
  for (const host of ["evil.example", "evil/.localhost", "a@localhost", "[::1", "x y"]) {
    assertRefused(await whoami(host), 421, "wrong_host");
  }
});

Deno.test("TOK-18: behind a proxy guesses are counted by who made them", async () => {
  await using world = await startWorld({
    clock: new FakeClock(),
    env: { OPENBOX_PUBLIC_URL: PUBLIC },
  });
  const guess = (from: string) =>
    world.call("GET", "/v1/whoami", {
      token: newUserToken(),
      headers: { "x-forwarded-for": from },
    });
  for (let i = 0; i < 20; i++) {
    // the left part is the guesser's own invention
    assertRefused(await guess(`192.0.2.${i}, 203.0.113.7`), 401, "unauthorized");
  }
  assertRefused(await guess("192.0.2.99, 203.0.113.7"), 429, "too_many");
  assertRefused(await guess("203.0.113.8"), 401, "unauthorized");
  // one IPv6 host has a whole /64
  for (let i = 0; i < 20; i++) await guess(`2001:db8::${i}`);
  assertRefused(await guess("2001:db8::ffff"), 429, "too_many");
  assertRefused(await guess("2001:db8:0:1::1"), 401, "unauthorized");
});

Deno.test("TOK-18: the audit tells the address that the proxy saw, and none that a caller wrote", async () => {
  const sources = async (env: Record<string, string>) => {
    await using world = await startWorld({ env });
    await world.call("GET", "/v1/whoami", {
      token: world.token,
      headers: { "x-forwarded-for": "192.0.2.99, 203.0.113.7" },
    });
    const { body } = await world.call("GET", "/v1/audit", { token: world.token });
    const login = (record: { action: string }) => record.action === "login";
    return body.records.filter(login).map(({ source }: { source: string }) => source);
  };
  assert.deepEqual(await sources({ OPENBOX_PUBLIC_URL: PUBLIC }), ["203.0.113.7"]);
  assert.deepEqual(await sources({}), ["127.0.0.1"]);
});

Deno.test("TOK-2: requests of an address are limited before anything is looked up", async () => {
  const clock = new FakeClock();
  await using world = await startWorld({
    clock,
    env: { OPENBOX_PUBLIC_URL: PUBLIC, OPENBOX_SOURCE_LIMIT: "2" },
  });
  const call = (from: string) =>
    world.call("GET", "/v1/whoami", { token: world.token, headers: { "x-forwarded-for": from } });
  for (let i = 0; i < 4; i++) assert.equal((await call("203.0.113.7")).status, 200);
  const reply = await call("203.0.113.7");
  assertRefused(reply, 429, "too_many");
  assert.equal(reply.headers.get("retry-after"), "1");
  assert.equal((await call("203.0.113.8")).status, 200);
  clock.advance(1000);
  assert.equal((await call("203.0.113.7")).status, 200);
  // this machine itself is not counted
  for (let i = 0; i < 10; i++) {
    assert.equal((await world.call("GET", "/v1/whoami", { token: world.token })).status, 200);
  }
});

/** One by which other machines could reach this one; not every container has it. */
const OUTER = Deno.networkInterfaces()
  .find(({ family, address }) => family === "IPv4" && !address.startsWith("127."))?.address;

Deno.test("plain HTTP that others reach is taken from the proxy alone", {
  ignore: OUTER === undefined,
}, async () => {
  await using world = await startWorld({
    env: {
      OPENBOX_ADDR: ":0",
      OPENBOX_PUBLIC_URL: PUBLIC,
      OPENBOX_BEHIND_PROXY: "192.0.2.1",
    },
  });
  const { port } = new URL(world.url);
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const get = async (path: string) => {
    const response = await fetch(`http://${OUTER}:${port}${path}`, {
      client,
      headers: { authorization: `Bearer ${world.token}`, "x-forwarded-proto": "https" },
    });
    return { status: response.status, code: (await response.json()).code };
  };
  assert.deepEqual(await get("/v1/whoami"), { status: 403, code: "insecure_http" });
  assert.equal((await get("/health")).status, 200);
  assert.equal((await world.call("GET", "/v1/whoami", { token: world.token })).status, 200);
});

Deno.test("HTTPS is remembered by browsers, plain HTTP promises nothing", async () => {
  const hsts = async (env: Record<string, string>, headers: Record<string, string> = {}) => {
    await using world = await startWorld({ env });
    return (await world.call("GET", "/", { headers })).headers.get("strict-transport-security");
  };
  assert.equal(await hsts({}), null);
  assert.equal(await hsts({}, { "x-forwarded-proto": "https" }), null);
  assert.equal(await hsts({ OPENBOX_PUBLIC_URL: PUBLIC }), "max-age=31536000");
  assert.equal(await hsts({ OPENBOX_PUBLIC_URL: PUBLIC }, { "x-forwarded-proto": "http" }), null);
});

Deno.test("TOK-16: a page of another site gets no answer that it may read, and none with a token", async () => {
  await using world = await startWorld({ env: { OPENBOX_PUBLIC_URL: PUBLIC } });
  for (
    const origin of [
      "https://evil.example",
      "null",
      `${PUBLIC}.evil.example`,
      "http://box.example.com",
    ]
  ) {
    const preflight = await world.call("OPTIONS", "/v1/dispatch", {
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      },
    });
    assertRefused(preflight, 405, "method_not_allowed");
    const headers = { origin };
    const call = await world.call("POST", "/v1/dispatch", {
      token: world.token,
      body: {},
      headers,
    });
    assertRefused(call, 403, "cross_site");
    const open = await world.call("GET", "/health", { headers });
    assert.equal(open.status, 200);
    for (const reply of [preflight, call, open]) {
      const allowed = [...reply.headers.keys()].filter((name) => name.startsWith("access-control"));
      assert.deepEqual(allowed, []);
    }
  }
  const read = (headers: Record<string, string>) =>
    world.call("GET", "/v1/whoami", { token: world.token, headers });
  assertRefused(await read({ "sec-fetch-site": "cross-site" }), 403, "cross_site");
  assertRefused(
    await world.call("GET", "/v1/whoami", { headers: { origin: "null", cookie: "a=b" } }),
    403,
    "cross_site",
  );
  assert.equal((await read({ origin: PUBLIC })).status, 200);
  assert.equal((await read({ origin: `https://${new URL(world.url).host}` })).status, 200);
  assert.equal((await read({ "sec-fetch-site": "same-origin" })).status, 200);
});

Deno.test("loopback is trusted by its networks alone", () => {
  const trusts = trustProxies(LOOPBACK_NETWORKS);
  for (const address of ["127.0.0.1", "127.9.9.9", "::1"]) assert.ok(trusts(address), address);
  for (const address of ["", "10.0.0.1", "::2", "localhost", "128.0.0.1"]) {
    assert.ok(!trusts(address), address);
  }
});
