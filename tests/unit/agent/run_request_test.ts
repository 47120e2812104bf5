import assert from "node:assert/strict";
import { acceptEnv, readWantedRun } from "../../../src/agent/run_request.ts";
import { MAX_RUN_REQUEST, RUN_SUBSYSTEM } from "../../../src/api/run.ts";
import { concat, text, toBase64, utf8 } from "../../../src/bytes.ts";
import type { OpenboxError } from "../../../src/errors.ts";
import { u32 } from "../../../src/ssh/wire.ts";
import { fakeChannel } from "../../fakes/server_channel.ts";

const ours = { kind: "subsystem", name: RUN_SUBSYSTEM } as const;

const framed = (json: string) => {
  const bytes = utf8(json);
  return concat([u32(bytes.length), bytes]);
};
const request = (change: Record<string, unknown> = {}) =>
  JSON.stringify({ kind: "run", run_id: "run_1", command: toBase64(utf8("true")), ...change });

function wanted(bytes: Uint8Array) {
  const fake = fakeChannel(undefined, ours);
  fake.send(bytes);
  fake.end();
  return readWantedRun(fake.channel);
}

Deno.test("the header is read however it is cut, and what follows is input", async () => {
  const json = request({ env: { A: "b" }, cwd: "dir", timeout_ms: 1000 });
  const all = concat([framed(json), utf8("input")]);
  for (const size of [1, 3, 7, all.length]) {
    const fake = fakeChannel(undefined, ours);
    for (let at = 0; at < all.length; at += size) fake.send(all.slice(at, at + size));
    const { line, input, ...rest } = await readWantedRun(fake.channel);
    assert.equal(text(line!), "true");
    assert.deepEqual(rest, {
      kind: "run",
      runId: "run_1",
      terminal: undefined,
      env: { A: "b" },
      cwd: "dir",
      timeoutMs: 1000,
      confinement: {},
      isolation: undefined,
    });
    let got = text(input);
    while (got.length < 5) got += text((await fake.channel.input.read())!);
    assert.equal(got, "input");
  }
});

Deno.test("SSH-11: a command of bytes that are no text stays those bytes", async () => {
  const bytes = new Uint8Array([0x65, 0xff, 0xfe, 0x80]);
  const { line } = await wanted(framed(request({ command: toBase64(bytes) })));
  assert.deepEqual([...line!], [...bytes]);
});

Deno.test("INS-7: a key that this version does not know is refused, since it would not be held", async () => {
  for (const change of [{ nice: 5 }, { limits: { disk_bytes: 1 } }]) {
    await assert.rejects(wanted(framed(request(change))), { code: "upgrade_required" });
  }
});

Deno.test("limits and mounts are read as what a backend is asked to hold", async () => {
  const { confinement } = await wanted(framed(request({
    limits: { memory_bytes: 2 ** 20, cpus: 0.5, pids: 5, shm_bytes: 4096 },
    mounts: ["/a:/b:ro"],
    gpus: "all",
    net: "none",
    volatile: true,
  })));
  assert.deepEqual(confinement, {
    memoryBytes: 2 ** 20,
    cpus: 0.5,
    pids: 5,
    shmBytes: 4096,
    mounts: [{ source: "/a", target: "/b", readOnly: true }],
    gpus: "all",
    net: "none",
    volatile: true,
  });
  const none = { limits: {}, mounts: [], volatile: false };
  assert.deepEqual((await wanted(framed(request(none)))).confinement, {});
});

Deno.test("ISO-8: limits and mounts in no form that is known are refused", async () => {
  const cases: [Record<string, unknown>, string][] = [
    [{ limits: { memory_bytes: 0 } }, "bad_request"],
    [{ limits: { memory_bytes: 1.5 } }, "bad_request"],
    [{ limits: { cpus: 0 } }, "bad_request"],
    [{ limits: { cpus: "2" } }, "bad_request"],
    [{ limits: { pids: -1 } }, "bad_request"],
    [{ net: "container:x" }, "bad_request"],
    [{ gpus: "device=-x --y" }, "bad_request"],
    [{ mounts: ["rel:/b"] }, "mount_invalid"],
    [{ mounts: ["/a:/b:rw"] }, "mount_invalid"],
    [{ mounts: ["/a/../etc"] }, "mount_invalid"],
    [{ mounts: Array(65).fill("/a") }, "bad_request"],
  ];
  for (const [change, code] of cases) {
    await assert.rejects(wanted(framed(request(change))), { code }, JSON.stringify(change));
  }
});

Deno.test("a header that is not one is refused", async () => {
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(), "bad_request"],
    [u32(5), "bad_request"],
    [concat([u32(100), utf8("{}")]), "bad_request"],
    [framed("{"), "bad_request"],
    [framed("[]"), "bad_request"],
    [framed(request({ run_id: "a b" })), "bad_request"],
    [framed(request({ command: "###" })), "bad_request"],
    [framed(request({ timeout_ms: -1 })), "bad_request"],
    [framed(request({ pty: { term: "a/b", cols: 80, rows: 24 } })), "bad_request"],
    [framed(request({ pty: { term: "xterm" } })), "bad_request"],
    [concat([u32(2), new Uint8Array([0xff, 0xff])]), "bad_request"],
    [framed(request({ env: { "A=B": "c" } })), "bad_environment"],
    [framed(request({ env: { OPENBOX_NODE: "x" } })), "bad_environment"],
    [framed(request({ env: { A: "\0" } })), "bad_environment"],
    [u32(MAX_RUN_REQUEST + 1), "command_too_long"],
    [u32(0xffffffff), "command_too_long"],
  ];
  for (const [bytes, code] of cases) {
    await assert.rejects(wanted(bytes), (error: OpenboxError) => error.code === code, text(bytes));
  }
});

Deno.test("a stock client's exec is a line, its variables, and perhaps an isolation", async () => {
  const env = { LANG: "C", OPENBOX_ISOLATION: "native" };
  const { channel } = fakeChannel(undefined, { kind: "exec", command: utf8("echo é") }, env);
  const { line, input, ...rest } = await readWantedRun(channel);
  assert.equal(text(line!), "echo é");
  assert.equal(input.length, 0);
  assert.deepEqual(rest, {
    kind: "run",
    runId: undefined,
    terminal: undefined,
    env: { LANG: "C" },
    cwd: undefined,
    timeoutMs: undefined,
    confinement: {},
    isolation: "native",
  });
});

Deno.test("RUN-21: no command is the login's shell, from our client and from a stock one", async () => {
  const pty = { term: "xterm", cols: 80, rows: 24 };
  const { line, terminal } = await wanted(framed(request({ command: undefined, pty })));
  assert.deepEqual([line, terminal], [undefined, pty]);
  const stock = await readWantedRun(fakeChannel(undefined, { kind: "shell" }, {}, pty).channel);
  assert.deepEqual([stock.line, stock.terminal], [undefined, pty]);
});

Deno.test("SSH-10: the size of a terminal is kept within what programs can bear", async () => {
  const cases: [number, number][] = [[2 ** 31, 4096], [-1, 0], [0, 0], [1.5, 0], [200, 200]];
  for (const [cols, expected] of cases) {
    const { terminal } = await wanted(framed(request({ pty: { term: "xterm", cols, rows: 24 } })));
    assert.deepEqual(terminal, { term: "xterm", cols: expected, rows: 24 });
  }
});

Deno.test("SSH-10: other subsystems are refused", async () => {
  const { channel } = fakeChannel(undefined, { kind: "subsystem", name: "sftp" });
  await assert.rejects(readWantedRun(channel), { code: "not_supported" });
});

Deno.test("SSH-10: env requests are taken by name, openbox's own not", () => {
  for (const name of ["LANG", "LC_ALL", "_x", "OPENBOX_ISOLATION"]) {
    assert.ok(acceptEnv(name), name);
  }
  for (const name of ["", "1A", "A-B", "A=B", "OPENBOX_NODE", "OPENBOX_TOKEN", "é"]) {
    assert.ok(!acceptEnv(name), name);
  }
});
