import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Buffer } from "node:buffer";
import { TextLineStream } from "../../fixtures/text_lines.ts";
import { eventually } from "../../fixtures/processes.ts";
import { dial } from "../../../src/transport/dial.ts";
import { advertise, listen } from "../../../src/transport/tcp.ts";
import type { Conn } from "../../../src/transport/transport.ts";

const signal = AbortSignal.timeout(60_000);

/** All that comes until the end. */
async function readAll(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

const closed = (stream: Duplex) =>
  stream.closed ? Promise.resolve() : new Promise((resolve) => stream.once("close", resolve));

Deno.test("bytes cross a connection both ways, with its end", async () => {
  const sent = new Uint8Array(5_000_000).map((_, i) => i * 7);
  const accepted = Promise.withResolvers<Conn>();
  await using listener = await listen("127.0.0.1:0", accepted.resolve);
  const near = await dial(listener.addr, { signal });
  const far = await accepted.promise;
  assert.equal(far.remoteAddress, "127.0.0.1");

  near.end(sent);
  const echo = await readAll(far);
  assert.ok(echo.equals(sent));
  assert.equal((await readAll(near)).length, 0);
  await Promise.all([closed(near), closed(far)]);
});

Deno.test("what is written to an accepted connection arrives before its end", async () => {
  const sent = new Uint8Array(3_000_000).map((_, i) => i * 3);
  await using listener = await listen("127.0.0.1:0", (conn) => void conn.resume().end(sent));
  const near = await dial(listener.addr, { signal });
  assert.ok((await readAll(near)).equals(sent));
  await closed(near);
});

Deno.test("an accepted connection whose reader is slow holds its peer back", async () => {
  const accepted = Promise.withResolvers<Conn>();
  await using listener = await listen("127.0.0.1:0", accepted.resolve);
  const near = await dial(listener.addr, { signal });
  const far = await accepted.promise;
  far.on("error", () => {});
  const chunk = new Uint8Array(1_000_000);
  for (let i = 0; i < 64; i++) near.write(chunk);
  // until nothing moves any more: the reader has not asked, so only the buffers are full
  for (let last = -1; near.bytesWritten - near.writableLength !== last;) {
    last = near.bytesWritten - near.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.ok(near.writableLength > 32_000_000, `${near.writableLength} bytes wait`);
  near.destroy();
  far.destroy();
  await Promise.all([closed(near), closed(far)]);
});

Deno.test("a destroyed connection closes on both ends, and twice is once", async () => {
  const accepted = Promise.withResolvers<Conn>();
  await using listener = await listen("127.0.0.1:0", accepted.resolve);
  const near = await dial(listener.addr, { signal });
  near.on("error", () => {});
  const far = await accepted.promise;
  far.resume();
  far.destroy();
  far.destroy();
  await Promise.all([closed(near.resume()), closed(far)]);
});

Deno.test("dial rejects with the system's error, and with the signal's reason", async () => {
  const unused = await listen("127.0.0.1:0", () => {});
  await unused[Symbol.asyncDispose]();
  await unused[Symbol.asyncDispose]();
  await assert.rejects(dial(unused.addr, { signal }), { code: "ECONNREFUSED" });

  const reason = new Error("enough");
  await assert.rejects(dial(unused.addr, { signal: AbortSignal.abort(reason) }), reason);
});

Deno.test("a dialled connection that is reset before anybody listens ends, and not the process", async () => {
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer(accepted.resolve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const near = await dial(`127.0.0.1:${port}`, { signal });
  (await accepted.promise).resetAndDestroy();
  await eventually("it is closed", () => near.destroyed);
  assert.match(`${near.errored}`, /ECONNRESET/);
  await new Promise((resolve) => server.close(resolve));
});

Deno.test("an address that is taken is refused", async () => {
  await using listener = await listen("127.0.0.1:0", () => {});
  await assert.rejects(listen(listener.addr, () => {}), Deno.errors.AddrInUse);
});

Deno.test("every address is advertised as one that can be dialled", async () => {
  assert.equal(await advertise("10.0.0.4:7600"), "10.0.0.4:7600");
  for (const addr of ["0.0.0.0:7600", "[::]:7600", ":7600"]) {
    assert.match(await advertise(addr), /^(?!0\.0\.0\.0)(?:[\d.]+|\[(?!::\])[\da-f:]+\]):7600$/);
  }
});

Deno.test("SSH-12, RES-3: a listener out of descriptors waits, idle and quiet, and recovers by itself", async () => {
  const fixture = new URL("starved_listener.ts", import.meta.url).pathname;
  await using process = new Deno.Command("/bin/sh", {
    args: ["-c", `ulimit -n 128; exec "$0" run -A --no-check "$1"`, Deno.execPath(), fixture],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdout: "piped",
  }).spawn();
  const lines = process.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  const next = async () => JSON.parse((await lines.read()).value ?? "null");
  type Report = { held: number; cpuMs: number; logged: string[] };
  const until = async (wanted: (report: Report) => boolean): Promise<Report> => {
    for (const deadline = Date.now() + 15_000;;) {
      const report = await next();
      if (wanted(report)) return report;
      assert.ok(Date.now() < deadline, JSON.stringify(report));
    }
  };

  const { addr } = await next();
  const [hostname, port] = addr.split(":");
  const conns = await Promise.all(
    Array.from({ length: 160 }, () => Deno.connect({ hostname, port: Number(port) })),
  );
  const starved = await until(({ logged }) => logged.length > 0);
  assert.match(starved.logged[0]!, /could not be accepted.*Too many open files/);
  const end = Date.now() + 2000;
  const later = await until(() => Date.now() > end);
  const cpuMs = later.cpuMs - starved.cpuMs;
  assert.ok(cpuMs < 200, `${cpuMs} ms of CPU in 2 s`);
  assert.ok(later.logged.length <= 2, `${later.logged.length} lines`);
  assert.ok(later.held < 128);

  for (const conn of conns) conn.close();
  await until(({ held }) => held === 0);
  const fresh = await Deno.connect({ hostname, port: Number(port) });
  await fresh.write(new Uint8Array([7]));
  assert.equal(await fresh.read(new Uint8Array(8)), 1);
  fresh.close();

  process.kill("SIGTERM");
  await lines.cancel();
});
