import assert from "node:assert/strict";
import type { Outcome } from "../../../src/api/run.ts";
import { attend } from "../../../src/cli/attend.ts";
import { jsonSink, plainSink } from "../../../src/cli/sink.ts";
import type { RemoteRun } from "../../../src/client/exec.ts";
import { text, utf8 } from "../../../src/bytes.ts";
import { fakeHost } from "../../fakes/host.ts";

const exit = (code: number): Outcome => ({
  outcome: "exit",
  code,
  signal: null,
  error: null,
  session: null,
});

/** A run in this process: gives these chunks, ends when told, and notes what is done to it. */
function fakeRun(output: { stdout?: Uint8Array[]; stderr?: Uint8Array[] } = {}) {
  const end = Promise.withResolvers<Outcome>();
  const done: string[] = [];
  const taken: Uint8Array[] = [];
  const source = (chunks: Uint8Array[] = []) => ({
    read: async () => chunks.shift() ?? (await end.promise, null),
  });
  const run: RemoteRun = {
    runId: "run_1",
    nodeId: "node_1",
    sessionBound: false,
    nodeName: "mini",
    stdout: source(output.stdout),
    stderr: source(output.stderr),
    write(bytes) {
      taken.push(bytes);
      return Promise.resolve(true);
    },
    endInput: () => void done.push("eof"),
    signal: (name) => void done.push(name),
    resize: ({ cols, rows }) => void done.push(`${cols}x${rows}`),
    onProgress() {},
    closeOutput: () => void done.push("eow"),
    end: end.promise,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return { run, end: (outcome: Outcome) => end.resolve(outcome), done, taken };
}

/** Lets every promise that can settle do so. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("input goes to the command, its two outputs to ours, its code is ours", async () => {
  const { run, end, done, taken } = fakeRun({ stdout: [utf8("out")], stderr: [utf8("err")] });
  const host = fakeHost({ stdin: "x".repeat(150_000) });
  const attended = attend(run, plainSink(host), host);
  await settled();
  end(exit(7));
  assert.equal((await attended).code, 7);
  assert.deepEqual([host.out.text(), host.err.text()], ["out", "err"]);
  assert.equal(taken.map((chunk) => text(chunk)).join(""), "x".repeat(150_000));
  assert.deepEqual(done, ["eof"]);
});

Deno.test("RUN-4: a command that ends is not waited for by a terminal that nobody types at", async () => {
  const { run, end } = fakeRun();
  const host = {
    ...fakeHost(),
    stdin: { ...fakeHost().stdin, read: () => new Promise<null>(() => {}) },
  };
  const attended = attend(run, plainSink(host), host);
  end(exit(0));
  assert.equal((await attended).code, 0);
});

Deno.test("RUN-9: a reader of stdout that went away is told to the command; the end is 141", async () => {
  const { run, end, done } = fakeRun({ stdout: [utf8("y\n"), utf8("y\n")] });
  const host = fakeHost();
  host.out.broken = true;
  const attended = attend(run, plainSink(host), host);
  await settled();
  assert(done.includes("eow"));
  end({ ...exit(141), outcome: "signal", signal: "PIPE" });
  assert.equal((await attended).code, 141);
});

Deno.test("RUN-9: a closed stderr does not stop stdout", async () => {
  const { run, end, done } = fakeRun({ stdout: [utf8("out")], stderr: [utf8("1"), utf8("2")] });
  const host = fakeHost();
  host.err.broken = true;
  const attended = attend(run, plainSink(host), host);
  await settled();
  end(exit(0));
  assert.equal((await attended).code, 0);
  assert.equal(host.out.text(), "out");
  assert(!done.includes("eow"));
});

Deno.test("RUN-10: the first Ctrl-C is the command's, the second kills it and ends with 130", async () => {
  const { run, end, done } = fakeRun();
  const host = fakeHost();
  const attended = attend(run, plainSink(host), host);
  host.raise("SIGINT");
  assert(done.includes("INT"));
  await settled();
  host.raise("SIGINT");
  assert(done.includes("KILL"));
  end({ ...exit(137), outcome: "signal", signal: "KILL" });
  const { code, outcome } = await attended;
  assert.deepEqual([code, outcome.outcome, outcome.signal], [130, "signal", "KILL"]);
});

Deno.test("RUN-10: after one Ctrl-C the command's own end is ours", async () => {
  const { run, end } = fakeRun();
  const host = fakeHost();
  const attended = attend(run, plainSink(host), host);
  host.raise("SIGINT");
  end(exit(42));
  assert.equal((await attended).code, 42);
});

Deno.test("EXE-5: SIGTERM and SIGHUP end within a second, with 143 and 129, whatever the command does", async () => {
  for (const [name, code] of [["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    const { run, end, done } = fakeRun();
    const host = fakeHost();
    const attended = attend(run, plainSink(host), host);
    const from = Date.now();
    host.raise(name);
    const result = await attended;
    assert.deepEqual([result.code, result.outcome.error?.code], [code, "cancelled"]);
    assert(Date.now() - from < 1000);
    assert(done.includes("TERM"));
    end(exit(0));
  }
});

Deno.test("an output that cannot be written fails the call", async () => {
  const { run, end } = fakeRun({ stdout: [utf8("x")] });
  const host = fakeHost();
  const full = {
    write: () => Promise.reject(new Error("No space left on device")),
    end: () => Promise.resolve(),
    isJoined: false,
  };
  await assert.rejects(attend(run, full, host), /No space left/);
  end(exit(0));
});

Deno.test("EXE-15: a slow reader stops the reading: one chunk is on its way, no more", async () => {
  let read = 0;
  const { run, end } = fakeRun();
  const stdout = { read: () => (read++, Promise.resolve(new Uint8Array(32_768))) };
  const host = fakeHost();
  const write = () => new Promise<void>(() => {});
  const stuck = { write, end: () => Promise.resolve(), isJoined: false };
  void attend({ ...run, stdout }, stuck, host);
  await settled();
  assert.equal(read, 1);
  end(exit(0));
});

Deno.test("EXE-5: the last JSON line is the last, and the one before it whole", async () => {
  const host = fakeHost(), written: string[] = [];
  const released = Promise.withResolvers<void>();
  const stdout = {
    ...host.stdout,
    async write(bytes: Uint8Array) {
      await released.promise; // a reader that is slow
      written.push(text(bytes));
    },
  };
  const sink = jsonSink({ ...host, stdout });
  const first = sink.write("stdout", utf8("a"));
  const closed = sink.close({ stream: "exit" });
  const after = sink.write("stdout", utf8("b"));
  released.resolve();
  await Promise.all([first, closed, after]);
  assert.deepEqual(written.map((line) => JSON.parse(line).stream), ["stdout", "exit"]);
  await sink.write("stderr", utf8("c"));
  assert.equal(written.length, 2);
});

Deno.test("JSON lines keep the two streams whole and apart", async () => {
  const euro = utf8("€");
  const { run, end } = fakeRun({
    stdout: [euro.subarray(0, 1), euro.subarray(1)],
    stderr: [new Uint8Array([0xff])],
  });
  const host = fakeHost();
  const attended = attend(run, jsonSink(host), host);
  await settled();
  end(exit(0));
  await attended;
  const lines = host.out.text().trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.sort((a, b) => a.stream < b.stream ? -1 : 1), [
    { stream: "stderr", data: "/w==", encoding: "base64" },
    { stream: "stdout", data: "€" },
  ]);
  assert.equal(host.err.text(), "");
});

Deno.test("a reader of JSON lines that went away ends with 141", async () => {
  const { run, end } = fakeRun({ stdout: [utf8("a")], stderr: [utf8("b")] });
  const host = fakeHost();
  host.out.broken = true;
  const attended = attend(run, jsonSink(host), host);
  await settled();
  end(exit(0));
  assert.equal((await attended).code, 141);
});

/** A host whose terminal notes when it is handed over and given back, and whose size can be changed. */
function terminalHost() {
  const host = fakeHost({ stdinTerminal: true, stdoutTerminal: true });
  const log: string[] = [];
  let size = { cols: 80, rows: 24 };
  return {
    host: {
      ...host,
      stdin: {
        ...host.stdin,
        read: () => new Promise<null>(() => {}),
        passThrough() {
          log.push("handed over");
          return Promise.resolve({ [Symbol.dispose]: () => void log.push("given back") });
        },
      },
      stdout: { ...host.stdout, write: () => Promise.resolve(), size: () => size },
    },
    log,
    raise: host.raise,
    become: (cols: number, rows: number) => void (size = { cols, rows }),
  };
}

Deno.test("RUN-20: this terminal is handed over, and given back with the run's end", async () => {
  const { run, end } = fakeRun();
  const { host, log } = terminalHost();
  const attended = attend(run, plainSink(host), host, { cols: 80, rows: 24 });
  await settled();
  assert.deepEqual(log, ["handed over"]);
  end(exit(0));
  await attended;
  assert.deepEqual(log, ["handed over", "given back"]);
});

Deno.test("EXE-5: it is given back before a signal ends us, and when the output cannot be written", async () => {
  for (const signal of ["SIGTERM", "SIGHUP", "SIGQUIT"] as const) {
    const { run, end } = fakeRun();
    const { host, log, raise } = terminalHost();
    const attended = attend(run, plainSink(host), host, { cols: 80, rows: 24 });
    raise(signal);
    end(exit(0));
    assert.ok((await attended).code > 128);
    assert.deepEqual(log, ["handed over", "given back"], signal);
  }
  const { run } = fakeRun({ stdout: [utf8("out")] });
  const { host, log } = terminalHost();
  const full = { ...host.stdout, write: () => Promise.reject(new Error("full")) };
  const broken = { ...host, stdout: full };
  await assert.rejects(attend(run, plainSink(broken), broken, { cols: 80, rows: 24 }), /full/);
  assert.deepEqual(log, ["handed over", "given back"]);
});

Deno.test("RUN-20: a new size is sent, an old one is not", async () => {
  const { run, end, done } = fakeRun();
  const { host, raise, become } = terminalHost();
  become(90, 24); // since the run was asked for
  const attended = attend(run, plainSink(host), host, { cols: 80, rows: 24 });
  raise("SIGWINCH");
  become(132, 50);
  raise("SIGWINCH");
  end(exit(0));
  await attended;
  assert.deepEqual(done.filter((what) => what.includes("x")), ["90x24", "132x50"]);
});
