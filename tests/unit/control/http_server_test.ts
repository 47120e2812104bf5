import assert from "node:assert/strict";
import { Hono } from "@hono/hono";
import type { App } from "../../../src/control/app.ts";
import { type HttpLimits, type HttpServer, listen } from "../../../src/control/http_server.ts";
import { parseListenAddress } from "../../../src/control/listen_address.ts";
import { readTlsPair } from "../../../src/control/tls_pair.ts";
import type { OpenboxError } from "../../../src/errors.ts";

const FIXTURES = new URL("../../fixtures/", import.meta.url).pathname;
const TLS = { cert: `${FIXTURES}tls.crt`, key: `${FIXTURES}tls.key` };

/** Answers `/slow` when `release` is called. */
function slowApp(): { app: App; asked: Promise<void>; release(): void } {
  const app: App = new Hono();
  const asked = Promise.withResolvers<void>(), released = Promise.withResolvers<void>();
  app.get("/", (c) => c.text("ok"));
  app.post("/", (c) => c.req.text().then((body) => c.text(body), () => c.text("cut", 400)));
  app.get("/slow", async (c) => {
    asked.resolve();
    await released.promise;
    return c.text("slow");
  });
  return { app, asked: asked.promise, release: () => released.resolve() };
}

const start = (limits: Partial<HttpLimits> = {}, app = slowApp().app): Promise<HttpServer> =>
  listen(app, { address: parseListenAddress("127.0.0.1:0", "test"), limits });
const connect = ({ address }: HttpServer) =>
  Deno.connect({ hostname: "127.0.0.1", port: address.port });
const send = (connection: Deno.Conn, text: string) =>
  connection.write(new TextEncoder().encode(text));
const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

Deno.test("every address is IPv4 and IPv6", async () => {
  await using server = await listen(slowApp().app, { address: parseListenAddress(":0", "test") });
  for (const host of hasIpv6() ? ["127.0.0.1", "[::1]"] : ["127.0.0.1"]) {
    const response = await fetch(`http://${host}:${server.address.port}/`);
    assert.equal(await response.text(), "ok");
  }
});

/** Not every container has it. */
function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

Deno.test("a port that is taken is refused with the way out", async () => {
  await using server = await start();
  const address = parseListenAddress(`127.0.0.1:${server.address.port}`, "test");
  await assert.rejects(listen(slowApp().app, { address }), (error: OpenboxError) => {
    assert.equal(error.code, "conflict");
    assert.match(error.message, /something listens there already/);
    assert.match(error.hint!, /--addr/);
    return true;
  });
});

Deno.test("an address that is not this machine's is refused", async () => {
  const address = parseListenAddress("192.0.2.1:8080", "test");
  await assert.rejects(listen(slowApp().app, { address }), (error: OpenboxError) => {
    assert.equal(error.code, "bad_setting");
    assert.match(error.message, /no such address/);
    return true;
  });
});

Deno.test("HTTPS is served with the pair given, and plain HTTP then is not", async () => {
  const address = parseListenAddress("127.0.0.1:0", "test");
  await using server = await listen(slowApp().app, { address, tls: await readTlsPair(TLS) });
  using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(TLS.cert)] });
  const response = await fetch(`https://127.0.0.1:${server.address.port}/`, { client });
  assert.equal(await response.text(), "ok");
  await assert.rejects(fetch(`http://127.0.0.1:${server.address.port}/`));
});

Deno.test("a handshake that never comes ends by itself", async () => {
  await using server = await listen(slowApp().app, {
    address: parseListenAddress("127.0.0.1:0", "test"),
    tls: await readTlsPair(TLS),
    limits: { headersTimeout: 200, connectionsCheckingInterval: 50 },
  });
  using connection = await connect(server);
  assert.equal(await connection.read(new Uint8Array(1)), null);
});

Deno.test("a TLS pair that is none is refused before anything listens", async () => {
  const directory = await Deno.makeTempDir();
  const key = `${directory}/key`, text = `${directory}/text`;
  await Deno.writeTextFile(key, OTHER_KEY);
  await Deno.writeTextFile(text, "hello");
  const refuses = (cert: string, key: string, why: RegExp) =>
    assert.rejects(readTlsPair({ cert, key }), (error: OpenboxError) => {
      assert.equal(error.code, "bad_file");
      assert.match(error.message, why);
      return true;
    });
  await refuses(TLS.cert, key, /is not the one of/);
  await refuses(text, TLS.key, /in PEM/);
  await refuses(TLS.cert, text, /in PEM/);
  await refuses(TLS.cert, `${directory}/none`, /Cannot read .*none/);
  await Deno.remove(directory, { recursive: true });
});

const OTHER_KEY = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
`;

Deno.test("who sends no request, half of one, or half a body is hung up on", async () => {
  await using server = await start({
    headersTimeout: 300,
    requestTimeout: 600,
    connectionsCheckingInterval: 50,
  });
  const started = performance.now();
  const ends = ["", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"]
    .map(async (bytes) => {
      using connection = await connect(server);
      await send(connection, bytes);
      return await readAll(connection);
    });
  for (const text of await Promise.all(ends)) assert.doesNotMatch(text, / 200 /);
  assert.ok(performance.now() - started < 5000);
});

Deno.test("connections beyond the limit are closed, and those that end make room", async () => {
  await using server = await start({ maxConnections: 3 });
  const held = [await connect(server), await connect(server), await connect(server)];
  for (const connection of held) {
    await send(connection, GET);
    await connection.read(new Uint8Array(1024));
  }
  {
    using beyond = await connect(server);
    assert.doesNotMatch(await readAll(beyond), /200/);
  }
  for (const connection of held) connection.close();
  for (const deadline = Date.now() + 5000;;) {
    using again = await connect(server);
    await send(again, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    if (/ 200 /.test(await readAll(again))) break;
    assert.ok(Date.now() < deadline, "there is room again");
  }
});

Deno.test("the end waits for what is being answered, and takes nothing new", async () => {
  const { app, asked, release } = slowApp();
  const server = await start({}, app);
  using idle = await connect(server);
  await send(idle, GET);
  await idle.read(new Uint8Array(1024));
  using busy = await connect(server);
  await send(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  await asked;
  const ended = server[Symbol.asyncDispose]();
  // the idle one is closed at once, and nobody new is let in
  assert.equal(await idle.read(new Uint8Array(1)), null);
  await assert.rejects(connect(server), Deno.errors.ConnectionRefused);
  release();
  assert.match(await readAll(busy), /^HTTP\/1\.1 200 .*slow$/s);
  await ended;
});

Deno.test("the end does not wait for ever", async () => {
  const { app, asked, release } = slowApp();
  const server = await start({ drainTimeout: 300 }, app);
  using busy = await connect(server);
  await send(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  await asked;
  await server[Symbol.asyncDispose]();
  assert.equal(await readAll(busy), "");
  release();
});

async function readAll(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(4096);
  let text = "";
  try {
    for (let read; (read = await connection.read(buffer)) !== null;) {
      text += new TextDecoder().decode(buffer.subarray(0, read));
    }
  } catch {
    // reset counts as the end
  }
  return text;
}
