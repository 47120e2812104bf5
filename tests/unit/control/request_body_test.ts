import assert from "node:assert/strict";
import { utf8 } from "../../../src/bytes.ts";
import { MAX_BODY } from "../../../src/control/request_body.ts";
import { assertRefused, startWorld, type World } from "./world.ts";
import { usedMemory } from "../../fixtures/memory.ts";

const make = (world: World, body: string, headers = {}) =>
  world.call("POST", "/v1/enroll-tokens", { token: world.token, body, headers });

Deno.test("TOK-8: a body that is too long, or is not what it should be, is refused", async () => {
  await using world = await startWorld();
  const padded = (length: number) => `{"tags":[]${" ".repeat(length - 11)}}`;
  assert.equal((await make(world, padded(MAX_BODY))).status, 200);
  assertRefused(await make(world, padded(MAX_BODY + 1)), 413, "body_too_large");
  assertRefused(await make(world, padded(1024 * 1024 + 1)), 413, "body_too_large");
  const wrong = [
    "[]",
    "null",
    "5",
    `"x"`,
    "{",
    `{"tags":"a"}`,
    `{"tags":{"0":"a"}}`,
    `{"tags":[1]}`,
    `{"ttl_seconds":"900"}`,
    `{"ttl_seconds":NaN}`,
    `{"__proto__":{"ttl_seconds":5}}`,
    `{"ttl_seconds":60,"ttl_seconds":3600}`,
    `{"tags":["\\ud800"]}`,
    `{"x":${"[".repeat(30_000)}${"]".repeat(30_000)}}`,
  ];
  for (const body of wrong) {
    const reply = await make(world, body);
    assert.equal(reply.status, 400, `${body.slice(0, 40)}: ${reply.text}`);
    assert.match(reply.body.code, /^(bad_request|invalid_name)$/);
  }
  assertRefused(await make(world, `{"constructor":1,"toString":2}`), 426, "upgrade_required");
});

Deno.test("TOK-8: a compressed body is refused unopened", async () => {
  await using world = await startWorld();
  for (const encoding of ["gzip", "br", "deflate", "x, gzip"]) {
    const reply = await make(world, "{}", { "content-encoding": encoding });
    assertRefused(reply, 400, "bad_request");
  }
  assert.equal((await make(world, "{}", { "content-encoding": "identity" })).status, 200);
});

Deno.test("TOK-8: an endless chunked body is cut off, and takes no memory", async () => {
  await using world = await startWorld();
  const before = await usedMemory();
  for (let i = 0; i < 4; i++) {
    const { head, sent } = await flood(world, "Transfer-Encoding: chunked", chunk, 1024);
    assert.match(head, /^HTTP\/1\.1 413 .*"code":"body_too_large"/s);
    assert.ok(sent < 64, `${sent} MiB were taken`);
  }
  assert.ok(await usedMemory() - before < 64 * 1024 * 1024);
});

Deno.test("TOK-8: a length that is too long is refused before the body is read", async () => {
  await using world = await startWorld();
  const { head, sent } = await flood(world, `Content-Length: ${1 << 30}`, mebibyte, 1024);
  assert.match(head, /^HTTP\/1\.1 413 /);
  assert.ok(sent < 64, `${sent} MiB were taken`);
});

Deno.test("TOK-8: a body nobody asked for is not read either", async () => {
  await using world = await startWorld();
  for (const path of ["/v1/nodes/node_x", "/nothing", "/health"]) {
    const method = path === "/health" ? "GET" : "DELETE";
    const { head, sent } = await flood(world, `Content-Length: ${1 << 30}`, mebibyte, 1024, {
      method,
      path,
    });
    assert.match(head, /^HTTP\/1\.1 (200|404) .*\r\nconnection: close\r\n/is, path);
    assert.ok(sent < 64, `${path}: ${sent} MiB were taken`);
  }
});

Deno.test("TOK-8: a length that lies leads nowhere", async () => {
  await using world = await startWorld();
  const both = "Content-Length: 2\r\nTransfer-Encoding: chunked";
  assert.match(await raw(world, both, "0\r\n\r\n"), /^HTTP\/1\.1 400 .*"code":"bad_request"/s);
  const twice = "Content-Length: 2\r\nContent-Length: 3";
  assert.match(await raw(world, twice, "{} "), /^HTTP\/1\.1 400 /);
  // longer than said: what follows is read as a request, and is none
  const longer = await raw(world, "Content-Length: 2", `{}{"tags":[]}\r\n\r\n`);
  assert.match(longer, /^HTTP\/1\.1 (200 .*HTTP\/1\.1 )?400 /s);
  // shorter than said, and hung up
  assert.doesNotMatch(await raw(world, "Content-Length: 9", "{}", { hangUp: true }), / 200 /);
  assert.equal((await world.call("GET", "/health")).status, 200);
});

Deno.test("a header that is too long, and what is no HTTP, are refused flat", async () => {
  await using world = await startWorld();
  const long = await raw(world, `X-Long: ${"a".repeat(20_000)}`, "");
  assert.match(long, /^HTTP\/1\.1 431 .*"code":"header_too_large"/s);
  const { hostname, port } = new URL(world.url);
  for (
    const bytes of ["\x16\x03\x01\x02\x00\r\n\r\n", "SSH-2.0-x\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
  ) {
    using connection = await Deno.connect({ hostname, port: Number(port) });
    await connection.write(utf8(bytes));
    assert.match(await readAll(connection), /^HTTP\/1\.1 400 .*"code":"bad_request"/s);
  }
  assert.equal((await world.call("GET", "/health")).status, 200);
});

Deno.test("TOK-17: a request has one Host header, or it is refused flat", async () => {
  await using world = await startWorld();
  const { hostname, port } = new URL(world.url);
  for (
    const hosts of [
      "",
      "Host: localhost\r\nHost: localhost\r\n",
      "Host: localhost\r\nhost: evil\r\n",
    ]
  ) {
    using connection = await Deno.connect({ hostname, port: Number(port) });
    await connection.write(utf8(`GET /v1/whoami HTTP/1.1\r\n${hosts}Connection: close\r\n\r\n`));
    assert.match(await readAll(connection), /^HTTP\/1\.1 400 .*"code":"bad_request"/s, hosts);
  }
});

Deno.test("methods and expectations that nobody has use for are answered flat too", async () => {
  await using world = await startWorld();
  const { hostname, port } = new URL(world.url);
  const head = "Host: localhost\r\nConnection: close\r\n";
  for (const method of ["TRACE", "OPTIONS", "PROPFIND", "QUERY"]) {
    using connection = await Deno.connect({ hostname, port: Number(port) });
    await connection.write(utf8(`${method} /v1/nodes HTTP/1.1\r\n${head}Cookie: a=b\r\n\r\n`));
    const answer = await readAll(connection);
    assert.match(answer, /^HTTP\/1\.1 405 .*"code":"method_not_allowed"/s, method);
    assert.match(answer, /\r\nallow: GET\r\n/i);
    assert.doesNotMatch(answer, /a=b/);
  }
  assert.match(await raw(world, "Expect: nonsense\r\nContent-Length: 2", "{}"), /^HTTP\/1\.1 200 /);
});

const mebibyte = new Uint8Array(1024 * 1024).fill(0x20);
const chunk = new Uint8Array([...utf8("100000\r\n"), ...mebibyte, ...utf8("\r\n")]);

const requestHead = (
  world: World,
  header: string,
  { method = "POST", path = "/v1/enroll-tokens" } = {},
) =>
  utf8(
    `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${world.token}\r\n${header}\r\n\r\n`,
  );

/** Sends `part` up to `times` times; what came back, and how many were taken. */
async function flood(
  world: World,
  header: string,
  part: Uint8Array,
  times: number,
  target: { method?: string; path?: string } = {},
): Promise<{ head: string; sent: number }> {
  const { hostname, port } = new URL(world.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const answer = readAll(connection);
  let sent = 0;
  try {
    await connection.write(requestHead(world, header, target));
    for (; sent < times; sent++) await writeAll(connection, part);
  } catch {
    // cut off, as it should be
  }
  return { head: await answer, sent };
}

async function raw(
  world: World,
  header: string,
  body: string,
  { hangUp = false } = {},
): Promise<string> {
  const { hostname, port } = new URL(world.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  await writeAll(connection, requestHead(world, header));
  await writeAll(connection, utf8(body));
  if (hangUp) await connection.closeWrite();
  return await readAll(connection);
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Until the other side closes, or resets. */
async function readAll(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(65_536), decoder = new TextDecoder();
  let text = "";
  try {
    for (let read; (read = await connection.read(buffer)) !== null;) {
      text += decoder.decode(buffer.subarray(0, read), { stream: true });
    }
  } catch {
    // reset: what came before counts
  }
  return text;
}
