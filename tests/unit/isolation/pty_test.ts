/** Commands on a terminal of native isolation; nothing here is a fake. */
import assert from "node:assert/strict";
import { abortable, deadline } from "../../../src/abort.ts";
import { concat, text, utf8 } from "../../../src/bytes.ts";
import type { Exit, Process, ScreenSize } from "../../../src/isolation/backend.ts";
import { openCgroups } from "../../../src/isolation/cgroup.ts";
import { type NativeBackend, openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { NATIVE } from "../../../src/isolation/spec.ts";
import { command, readAll } from "../../contract/isolation.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { eventually, isAlive, pidsIn } from "../../fixtures/processes.ts";

const SIZE: ScreenSize = { cols: 100, rows: 30 };
const ENV = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  TERM: "xterm",
  PS1: "$ ",
  HOME: "/nonexistent",
};
const BASH = "exec bash --noprofile --norc --noediting -i";

interface Screen {
  readonly process: Process;
  seen(): string;
  type(keys: string | Uint8Array): Promise<void>;
  shows(what: string): Promise<void>;
  /** Once the output has ended. */
  end(): Promise<Exit>;
}

async function show(backend: NativeBackend, line: string, terminal = SIZE): Promise<Screen> {
  const process = await backend.run(NATIVE, { ...command(line), env: ENV, terminal });
  let seen = "";
  const reading = (async () => {
    for await (const chunk of process.stdout) seen += text(chunk);
  })();
  const writer = process.stdin.getWriter();
  writer.closed.catch(() => {});
  return {
    process,
    seen: () => seen,
    type: (keys) => writer.write(typeof keys === "string" ? utf8(keys) : keys),
    shows: (what) =>
      eventually(`${JSON.stringify(what)}`, () => seen.includes(what)).then(() => {}),
    async end() {
      using limit = deadline(15_000, () => new Error(`it goes on; seen: ${seen}`));
      await abortable(reading, limit.signal);
      const exit = await process.exit;
      await process[Symbol.asyncDispose]();
      return exit;
    },
  };
}

const exit = (code: number): Exit => ({ kind: "exit", code });

function test(
  name: string,
  body: (backend: NativeBackend, dir: string) => Promise<void>,
  options: { ignore?: boolean; findCgroups?: () => ReturnType<typeof openCgroups> } = {},
): void {
  Deno.test({
    name,
    ignore: options.ignore ?? false,
    async fn() {
      const dir = await Deno.makeTempDir();
      {
        await using backend = await openNativeBackend(options);
        await body(backend, dir);
      }
      await Deno.remove(dir, { recursive: true });
    },
  });
}

test("RUN-20: a command has a terminal of its own on all three streams", async (backend) => {
  const screen = await show(
    backend,
    "tty; stty size; ls -l /proc/self/fd/0 >/dev/tty; echo err >&2; exit 7",
  );
  assert.deepEqual(await screen.end(), exit(7));
  assert.match(screen.seen(), /^\/dev\/\S+\r\n30 100\r\n/);
  assert.match(screen.seen(), /err\r\n$/);
  assert.equal((await readAll(screen.process.stderr)).length, 0);
});

test(
  "RUN-20: it has no descriptors but its own, and the terminal is its group's",
  async (backend) => {
    const screen = await show(
      backend,
      "cd /proc/self/fd; echo *; ps -o pid=,pgid=,sid=,tpgid= -p $$",
    );
    await screen.end();
    const [fds, ids] = screen.seen().split("\r\n");
    assert.match(fds!, /^0 1 2( \d+)?$/); // the glob's own may be there
    assert.equal(new Set(ids!.trim().split(/\s+/)).size, 1, ids);
  },
  { ignore: Deno.build.os !== "linux" },
);

test("RUN-20: a new size is seen, and told by SIGWINCH", async (backend) => {
  const screen = await show(
    backend,
    "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done",
  );
  await screen.shows("ready");
  screen.process.resize({ cols: 132, rows: 50 });
  assert.deepEqual(await screen.end(), exit(3));
  assert.match(screen.seen(), /50 132\r\n$/);
  screen.process.resize(SIZE); // of what has ended is no mistake
});

test("RUN-20: Ctrl-C reaches the job in front, and the shell goes on", async (backend) => {
  const screen = await show(backend, BASH);
  await screen.shows("$ ");
  await screen.type("cat; echo code=$?\r");
  await screen.shows("echo code=$?\r\n");
  await screen.type("in\r");
  await screen.shows("in\r\nin\r\n");
  await screen.type("\x03");
  await screen.shows("^C\r\n$ ");
  await screen.type("echo code=$?; exit 5\r");
  assert.deepEqual(await screen.end(), exit(5));
  assert.match(screen.seen(), /code=130\r\n/);
});

test("RUN-20: Ctrl-Z stops the job in front, fg takes it up, Ctrl-D ends it", async (backend) => {
  const screen = await show(backend, BASH);
  await screen.shows("$ ");
  await screen.type("cat\r");
  await screen.type("one\r");
  await screen.shows("one\r\none\r\n");
  await screen.type("\x1a");
  await screen.shows("Stopped");
  await screen.type("jobs -l; fg\r");
  await eventually("cat again", () => screen.seen().endsWith("cat\r\n"));
  await screen.type("two\r");
  await screen.shows("two\r\ntwo\r\n");
  await screen.type("\x04");
  await screen.type("echo code=$?\r");
  await screen.shows("code=0\r\n");
  await screen.type("\x04");
  assert.deepEqual(await screen.end(), exit(0));
});

test("RUN-20: a paste of 1 MiB arrives whole, however slowly it is read", async (backend, dir) => {
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const paste = concat(Array.from({ length: 16 }, () => bytes));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", paste)).toHex();
  const file = `${dir}/paste`;
  const line = `stty raw -echo; echo ready; sleep 0.2; head -c ${paste.length} >${file}; echo done`;
  const screen = await show(backend, line);
  await screen.shows("ready");
  await screen.type(paste);
  assert.deepEqual(await screen.end(), exit(0));
  const got = await crypto.subtle.digest("SHA-256", await Deno.readFile(file));
  assert.equal(new Uint8Array(got).toHex(), hash);
});

test("RUN-20: output to the last byte before the exit comes, read at once or later", async (backend) => {
  for (const wait of [0, 300]) {
    const process = await backend.run(NATIVE, {
      ...command("stty -opost; seq 1 30000; exit 4"),
      env: ENV,
      terminal: SIZE,
    });
    await new Promise((resolve) => setTimeout(resolve, wait));
    const out = text(await readAll(process.stdout));
    assert.deepEqual(await process.exit, exit(4));
    await process[Symbol.asyncDispose]();
    assert.equal(out, Array.from({ length: 30000 }, (_, i) => `${i + 1}\n`).join(""));
  }
});

test("RUN-14: what nobody reads stops the writer, not the others", async (backend) => {
  const stuck = await backend.run(NATIVE, { ...command("yes"), env: ENV, terminal: SIZE });
  const screen = await show(backend, "echo fine");
  await screen.end();
  assert.equal(screen.seen(), "fine\r\n");
  await stuck[Symbol.asyncDispose]();
  assert.equal((await stuck.exit).kind, "signal");
});

test("RUN-9: a terminal that nobody looks at any more ends its command", async (backend) => {
  const process = await backend.run(NATIVE, { ...command("yes"), env: ENV, terminal: SIZE });
  const reader = process.stdout.getReader();
  assert.match(text((await reader.read()).value!), /^y\r\n/);
  await reader.cancel();
  assert.deepEqual(await process.exit, { kind: "signal", signal: "HUP", number: 1 });
  await process[Symbol.asyncDispose]();
});

test("input that nobody reads is no obstacle to the end", async (backend) => {
  const screen = await show(backend, "stty raw -echo; echo ready; sleep 300");
  await screen.shows("ready");
  const typing = screen.type(new Uint8Array(1024 * 1024));
  typing.catch(() => {});
  await screen.process.terminate();
  await screen.end();
  await assert.rejects(typing);
});

test("RUN-12: a job that keeps the terminal open does not hold the end", async (backend, dir) => {
  const screen = await show(backend, BASH);
  await screen.shows("$ ");
  await screen.type(`nohup sleep 300 & echo $! >${dir}/pid; disown; exit 6\r`);
  const from = Date.now();
  const ended = await screen.end();
  assert.ok(Date.now() - from < 2000);
  assert.deepEqual(ended, exit(6));
  const [pid] = await pidsIn(`${dir}/pid`, 1);
  assert.ok(isAlive(pid!), "it lives on, as with ssh");
  Deno.kill(pid!, "SIGKILL");
});

test("RUN-8: a line too long for an argument runs on a terminal too", async (backend) => {
  const screen = await show(backend, `: ${"x".repeat(300_000)}\ntty; exit 5`);
  assert.deepEqual(await screen.end(), exit(5));
  assert.match(screen.seen(), /^\/dev\//);
});

for (
  const [name, findCgroups] of [
    ["", () => openCgroups()],
    [", without cgroups", () => Promise.resolve(undefined)],
  ] as const
) {
  test(`RUN-11: terminating ends shell and jobs, stopped ones too${name}`, async (backend, dir) => {
    const screen = await show(backend, BASH);
    await screen.shows("$ ");
    const stubborn = `sh -c 'trap "" HUP TERM INT; while :; do sleep 0.1; done'`;
    await screen.type(`${stubborn} & echo $! >>${dir}/pids; sleep 300 & echo $! >>${dir}/pids\r`);
    await screen.type(`sh -c 'echo $$ >>${dir}/pids; exec sleep 300'\r`);
    const pids = await pidsIn(`${dir}/pids`, 3);
    await screen.type("\x1a");
    await screen.shows("Stopped");
    const from = Date.now();
    await screen.process.terminate();
    assert.ok(Date.now() - from < 2700);
    for (const pid of pids) assert.ok(!isAlive(pid), `${pid}`);
    await screen.end();
  }, { findCgroups });
}

Deno.test({
  name: "RUN-20: 200 terminals cost a thread in all, and are given back",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using backend = await openNativeBackend();
    const count = (what: string) => [...Deno.readDirSync(`/proc/self/${what}`)].length;
    const one = await show(backend, "cat");
    const before = { task: count("task"), fd: count("fd") };
    const screens = await Promise.all(Array.from({ length: 199 }, () => show(backend, "cat")));
    await Promise.all(screens.map(async (screen, i) => {
      await screen.type(`number ${i}\r`);
      await screen.shows(`number ${i}\r\nnumber ${i}\r\n`);
    }));
    assert.ok(count("task") - before.task < 33, `${count("task") - before.task} threads`);
    assert.ok(await Deno.readTextFile("/proc/self/stat"), "files can be read meanwhile");
    for (const screen of [one, ...screens]) await screen.type("\x04");
    for (const screen of [one, ...screens]) assert.deepEqual(await screen.end(), exit(0));
    await eventually("the descriptors are closed", () => count("fd") <= before.fd);
  },
});

Deno.test("RUN-20: a terminal expects UTF-8: a backspace takes a whole character", {
  ...requireComponent("bash"),
}, async () => {
  await using backend = await openNativeBackend();
  const screen = await show(backend, "head -n 1 | od -An -tx1");
  await screen.type("aé\x7fb\r");
  await screen.end();
  assert.match(screen.seen(), / 61 62 0a/);
});
