import assert from "node:assert/strict";
import type { Socket } from "node:net";
import type { RunRequest } from "../../../src/api/run.ts";
import { generateCaKeys } from "../../../src/ca/keys.ts";
import { openRun, type RemoteRun } from "../../../src/client/exec.ts";
import type { RunCommand } from "../../../src/client/run_command.ts";
import type { Target } from "../../../src/client/target.ts";
import { concat, text, utf8 } from "../../../src/bytes.ts";
import { OpenboxError } from "../../../src/errors.ts";
import type { ByteSource } from "../../../src/ssh/channel.ts";
import { authorizedLine } from "../../../src/ssh/key.ts";
import { str, u32 } from "../../../src/ssh/wire.ts";
import { endWith, type FakeNode, listen, NODE_ID, startFakeNode } from "./fake_node.ts";

const target: Target = { tag: "mac", isolation: { kind: "native" } };
const open = (node: FakeNode, command: RunCommand, signal = AbortSignal.timeout(20_000)) =>
  openRun(target, command, node.deps, { signal });

async function readAll(source: ByteSource): Promise<string> {
  let all = "";
  for (let chunk; (chunk = await source.read()) !== null;) all += text(chunk);
  return all;
}

const outcome = (run: RemoteRun) =>
  Promise.all([run.end, readAll(run.stdout), readAll(run.stderr)]);

async function refusal(promise: Promise<unknown>): Promise<OpenboxError> {
  const error = await promise.then(() => undefined, (error) => error);
  assert(error instanceof OpenboxError, `${error}`);
  return error;
}

Deno.test("a run carries its request, streams both ways and tells how it ended", async () => {
  let got: RunRequest | undefined;
  await using node = await startFakeNode({
    async serve(request, channel) {
      got = request;
      for (let chunk; (chunk = await channel.input.read()) !== null;) {
        await channel.write("stdout", chunk);
      }
      await channel.write("stderr", utf8("err"));
      await endWith(channel, 7);
    },
  });
  await using run = await open(node, {
    line: "cat é",
    env: { A: "b" },
    cwd: "/tmp x",
    timeoutMs: 1500,
    runId: "run_1",
  });
  assert.equal(await run.write(utf8("in")), true);
  run.endInput();
  const [end, out, err] = await outcome(run);
  assert.deepEqual([end.outcome, end.code, out, err], ["exit", 7, "in", "err"]);
  assert.deepEqual(got, {
    kind: "run",
    run_id: "run_1",
    command: utf8("cat é").toBase64(),
    env: { A: "b" },
    cwd: "/tmp x",
    timeout_ms: 1500,
  });
  assert.deepEqual([run.nodeId, run.nodeName], [NODE_ID, "mini"]);
});

Deno.test("CERT-25: a host that is not the node asked for is refused, and no channel opens", async () => {
  await using node = await startFakeNode({
    serve: (_, channel) => endWith(channel, 0),
    hostCertFor: "node_00000000000000bb",
  });
  const error = await refusal(open(node, { line: "id" }));
  assert.equal(error.code, "host_key_mismatch");
  assert.equal(node.channels, 0);
});

Deno.test("CERT-26: a dispatch that names another CA than the pinned one is refused before any connection", async () => {
  await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
  const other = authorizedLine(generateCaKeys().host);
  node.change = (answer) => ({ ...answer, host_ca_pubkey: other });
  const error = await refusal(open(node, { line: "id" }));
  assert.equal(error.code, "ca_changed");
  assert.match(error.hint ?? "", /--ca-fingerprint SHA256:/);
  assert.equal(node.accepted.length, 0);
});

Deno.test("another node or another isolation than was asked for is refused before any connection", async () => {
  await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
  const signal = AbortSignal.timeout(20_000);
  const byId: Target = { node: "node_00000000000000bb", isolation: { kind: "native" } };
  const wrongNode = await refusal(openRun(byId, { line: "id" }, node.deps, { signal }));
  assert.equal(wrongNode.code, "host_key_mismatch");
  node.change = (answer) => ({ ...answer, isolation: "native" });
  const docker: Target = { tag: "x", isolation: { kind: "docker", image: "alpine" } };
  const wrongIsolation = await refusal(openRun(docker, { line: "id" }, node.deps, { signal }));
  assert.equal(wrongIsolation.code, "isolation_not_allowed");

  node.change = (answer) => answer;
  node.certify = ({ login: _, ...rest }) => rest;
  const asBuild: Target = { tag: "x", isolation: { kind: "native" }, login: "build" };
  const wrongLogin = await refusal(openRun(asBuild, { line: "id" }, node.deps, { signal }));
  assert.equal(wrongLogin.code, "login_not_allowed");
  assert.equal(node.accepted.length, 0);
});

Deno.test("RUN-24: a node whose clock is off by hours refuses with clock_skew and the offset", async () => {
  const hours = 2 * 3600_000;
  for (const clockAheadMs of [-hours, hours]) {
    await using node = await startFakeNode({
      serve: (_, channel) => endWith(channel, 0),
      clockAheadMs,
    });
    const error = await refusal(open(node, { line: "id" }));
    assert.equal(error.code, "clock_skew");
    assert.match(error.message, /mini refused us: .* 6\d{3} s /);
    assert.match(error.hint ?? "", /date -u/);
  }
  for (const clockAheadMs of [-180_000, 180_000]) {
    await using node = await startFakeNode({
      serve: (_, channel) => endWith(channel, 0),
      clockAheadMs,
    });
    await using run = await open(node, { line: "id" });
    assert.equal((await outcome(run))[0].code, 0);
  }
});

Deno.test("a full waiting line is tried again within the time to connect", async () => {
  await using node = await startFakeNode({
    serve: (_, channel) => endWith(channel, 0),
    turnAway: 2,
  });
  await using run = await open(node, { line: "id" });
  assert.equal((await outcome(run))[0].code, 0);
  assert.equal(node.accepted.length, 3);
});

Deno.test("nothing listens: refused with the address, nothing started", async () => {
  await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
  node.change = (answer) => ({ ...answer, addr: "127.0.0.1:1" });
  const nobody = await refusal(open(node, { line: "id" }));
  assert.equal(nobody.code, "node_unreachable");
  assert.equal(nobody.message, "Cannot reach the node mini: nothing listens on 127.0.0.1:1");
});

/** The first packet of a server that has no algorithm of ours. */
const foreignKex = () => {
  const lists = Array.from({ length: 10 }, () => str("none"));
  const payload = concat([new Uint8Array([20]), new Uint8Array(16), ...lists, new Uint8Array(5)]);
  const padding = 8 + (8 - (5 + payload.length) % 8) % 8;
  const length = u32(1 + payload.length + padding);
  return concat([length, new Uint8Array([padding]), payload, new Uint8Array(padding)]);
};

const FOREIGN: [string, (socket: Socket) => void, RegExp][] = [
  [
    "a web server",
    (socket) => void socket.resume().end("HTTP/1.1 400 no\r\n\r\n"),
    /does not speak SSH 2 \(the peer closed the connection\)$/,
  ],
  ["SSH 1", (socket) => void socket.resume().write("SSH-1.5-old\r\n"), /does not speak SSH 2/],
  ["a proxy that closes", (socket) => void socket.resume().end(), /does not speak SSH 2/],
  [
    "a proxy that resets",
    (socket) => void socket.once("data", () => socket.resetAndDestroy()),
    /does not speak SSH 2 \(read ECONNRESET\)$/,
  ],
  [
    "an SSH server without a common algorithm",
    (socket) => {
      socket.resume().write("SSH-2.0-x\r\n");
      socket.write(foreignKex());
    },
    /no matching/,
  ],
];

for (const [name, serve, why] of FOREIGN) {
  Deno.test(`${name} answers: refused at once, with the address and the cause`, async () => {
    let asked = 0;
    await using foreign = await listen((socket) => {
      asked++;
      serve(socket);
    });
    await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
    node.change = (answer) => ({ ...answer, addr: foreign.addr });
    const error = await refusal(open(node, { line: "id" }));
    assert.equal(error.code, "node_unreachable");
    assert.ok(error.message.startsWith(`Cannot reach the node mini: ${foreign.addr}: `));
    assert.match(error.message, why);
    assert.equal(asked, 1);
  });
}

Deno.test("RUN-8: a request beyond 8 MiB is refused before anything is sent", async () => {
  await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
  let dispatched = 0;
  node.change = (answer) => (dispatched++, answer);
  const error = await refusal(open(node, { line: "x".repeat(16 * 1024 * 1024) }));
  assert.equal(error.code, "command_too_long");
  assert.equal(dispatched, 0);
  assert.equal(node.accepted.length, 0);
});

Deno.test("RUN-8: a command line of 1 MiB and one of 6 MB arrive whole", async () => {
  for (const length of [1024 * 1024, 6_000_000]) {
    let got = 0;
    await using node = await startFakeNode({
      serve(request, channel) {
        got = Uint8Array.fromBase64(request.command!).length;
        return endWith(channel, 0);
      },
    });
    await using run = await open(node, { line: "x".repeat(length) });
    assert.equal((await outcome(run))[0].code, 0);
    assert.equal(got, length);
  }
});

Deno.test("SSH-15: without an exit status a run is lost, never 0", async () => {
  await using node = await startFakeNode({
    serve(_, channel) {
      channel.write("stdout", utf8("part"));
      node.accepted.at(-1)!.destroy();
      return Promise.resolve();
    },
  });
  await using run = await open(node, { line: "id" });
  const [end] = await outcome(run);
  assert.deepEqual([end.outcome, end.code, end.error?.code], ["lost", 255, "lost"]);
});

Deno.test("SSH-15: an exit code that is no byte becomes 255, a garbled outcome gives way to the status", async () => {
  const cases: [number, Record<string, unknown>, string, number][] = [
    [2 ** 31, { outcome: "exit", code: 2 ** 31 }, "exit", 255],
    [256, { outcome: "exit", code: 256 }, "exit", 255],
    [256, { outcome: "what" }, "exit", 255],
    [3, { outcome: "exit", code: "0" }, "exit", 3],
    [143, { outcome: "signal", code: 143, signal: "TERM" }, "signal", 143],
    [
      255,
      { outcome: "not_started", code: 255, error: { code: "bad_directory", message: "m" } },
      "not_started",
      255,
    ],
  ];
  for (const [status, told, kind, code] of cases) {
    await using node = await startFakeNode({
      serve: (_, channel) => endWith(channel, status, told),
    });
    await using run = await open(node, { line: "id" });
    const [end] = await outcome(run);
    assert.deepEqual([end.outcome, end.code], [kind, code]);
  }
});

Deno.test("a death by signal without our outcome is 128 and the signal's number", async () => {
  await using node = await startFakeNode({
    serve: (_, channel) => channel.end({ kind: "signal", signal: "SEGV" }),
  });
  await using run = await open(node, { line: "id" });
  const [end] = await outcome(run);
  assert.deepEqual([end.outcome, end.code, end.signal], ["signal", 139, "SEGV"]);
});

Deno.test("a call that is given up while it connects leaves no connection", async () => {
  const controller = new AbortController(), reason = new Error("enough");
  const closed = Promise.withResolvers<void>();
  await using silent = await listen((socket) => {
    socket.resume().once("close", () => closed.resolve());
    controller.abort(reason);
  });
  await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
  node.change = (answer) => ({ ...answer, addr: silent.addr });
  await assert.rejects(open(node, { line: "id" }, controller.signal), reason);
  await closed.promise;
});
