/** What is native's own; what every backend promises is in tests/contract. */
import assert from "node:assert/strict";
import { concat, text, utf8 } from "../../../../src/bytes.ts";
import type { OpenboxError } from "../../../../src/errors.ts";
import { type NativeBackend, openNativeBackend } from "../../../../src/isolation/native/backend.ts";
import { openCgroups } from "../../../../src/isolation/cgroup.ts";
import { NATIVE } from "../../../../src/isolation/spec.ts";
import type { Exit } from "../../../../src/isolation/backend.ts";
import { command, finish, readAll } from "../../../contract/isolation.ts";
import { usedMemory } from "../../../fixtures/memory.ts";
import { eventually, isAlive, pidsIn } from "../../../fixtures/processes.ts";

interface World {
  readonly backend: NativeBackend;
  /** A directory of this test. */
  readonly dir: string;
  run(line: string, input?: string | Uint8Array): ReturnType<typeof finish>;
}

function test(
  title: string,
  body: (world: World) => Promise<void>,
  options: {
    ignore?: boolean;
    sanitizeResources?: boolean;
    findCgroups?: () => ReturnType<typeof openCgroups>;
  } = {},
): void {
  Deno.test({
    name: title,
    ignore: options.ignore ?? false,
    sanitizeResources: options.sanitizeResources ?? true,
    async fn() {
      const dir = await Deno.makeTempDir();
      {
        await using backend = await openNativeBackend(options);
        const run = async (line: string, input?: string | Uint8Array) => {
          await using process = await backend.run(NATIVE, command(line));
          return await finish(process, input);
        };
        await body({ backend, dir, run });
      }
      await Deno.remove(dir, { recursive: true });
    },
  });
}

/** As a shell tells it. */
const status = (exit: Exit): number => exit.kind === "exit" ? exit.code : 128 + exit.number;

const sha256 = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65536, length)));
  }
  return bytes;
}

test("RUN-2: 16 MiB of random bytes come back as they went", async ({ run }) => {
  const bytes = randomBytes(16 * 1024 * 1024);
  const hash = await sha256(bytes);
  const { stdout } = await run("cat", bytes);
  assert.equal(await sha256(new Uint8Array(stdout)), hash);
});

test("RUN-2: 16 MiB on each output, or on both at once, are whole", async ({ run, dir }) => {
  const bytes = randomBytes(16 * 1024 * 1024);
  const hash = await sha256(bytes), file = `${dir}/bytes`;
  await Deno.writeFile(file, bytes);
  const cases = [
    [`cat ${file}`, [hash, await sha256(new Uint8Array())]],
    [`cat ${file} >&2`, [await sha256(new Uint8Array()), hash]],
    [`cat ${file} & cat ${file} >&2; wait`, [hash, hash]],
  ] as const;
  for (const [line, hashes] of cases) {
    const { stdout, stderr } = await run(line);
    const got = [await sha256(new Uint8Array(stdout)), await sha256(new Uint8Array(stderr))];
    assert.deepEqual(got, hashes, line);
  }
});

test("RUN-3: writing to a command that closed its stdin fails and ends nothing", async (world) => {
  await using process = await world.backend.run(
    NATIVE,
    command("exec <&-; echo closed; sleep 0.2"),
  );
  const writer = process.stdin.getWriter();
  const output = readAll(process.stdout);
  await assert.rejects(async () => {
    for (;;) await writer.write(new Uint8Array(65536));
  });
  assert.equal(text(await output), "closed\n");
  assert.deepEqual(await process.exit, { kind: "exit", code: 0 });
});

test("RUN-5, EXE-3: every exit code comes as it was", async ({ run }) => {
  for (let code = 0; code < 256; code += 16) {
    const codes = Array.from({ length: 16 }, (_, i) => code + i);
    const exits = await Promise.all(codes.map(async (code) => (await run(`exit ${code}`)).exit));
    assert.deepEqual(exits, codes.map((code) => ({ kind: "exit", code })));
  }
});

test("RUN-5, EXE-3: death by a signal is told, realtime signals too", async ({ run }) => {
  const cases: [string, string, number][] = [
    ["HUP", "HUP", 1],
    ["INT", "INT", 2],
    ["KILL", "KILL", 9],
    ["SEGV", "SEGV", 11],
    ["TERM", "TERM", 15],
    ["35", "RT35", 35],
    ["64", "RT64", 64],
  ];
  for (const [signal, name, number] of cases) {
    const { exit } = await run(`kill -${signal} $$`);
    assert.deepEqual(exit, { kind: "signal", signal: name, number });
  }
  // Deno never frees a child whose death it cannot name
}, { sanitizeResources: false });

test("RUN-7, EXE-3: what cannot be run is 127 or 126, as a shell has it", async ({ run, dir }) => {
  await Deno.writeTextFile(`${dir}/data`, "not a program\n", { mode: 0o644 });
  await Deno.writeTextFile(`${dir}/lost`, "#!/no/such/interpreter\n", { mode: 0o755 });
  await Deno.writeTextFile(`${dir}/bare`, "echo no first line\nexit 3\n", { mode: 0o755 });
  const cases: [string, number][] = [
    ["no-such-command", 127],
    ["/no/such/command", 127],
    [`${dir}/data`, 126],
    [dir, 126],
    [`${dir}/lost`, 127],
    [`${dir}/bare`, 3],
    ["'", 2],
    ["-c", 127],
    ["+x", 127],
  ];
  for (const [line, code] of cases) {
    assert.equal(status((await run(line)).exit), code, line);
  }
});

test("RUN-8: a line of 1 MiB, and of 8 MiB, runs and leaves stdin to the command", async (world) => {
  for (const size of [1024 * 1024, 8 * 1024 * 1024]) {
    const { out, exit } = await world.run(`: ${"x".repeat(size)}\ncat; exit 5`, "input");
    assert.equal(out, "input");
    assert.deepEqual(exit, { kind: "exit", code: 5 });
  }
});

test("RUN-8: a long line behaves as a short one does", async ({ run }) => {
  const long = `\n: ${"x".repeat(200_000)}`;
  for (const line of ['echo "$0 $# $- $LINENO"', "kill -9 $$", "exit 9", "false", "echo a; )"]) {
    const short = await run(line), same = await run(line + long);
    if (line !== "false") assert.deepEqual(same.exit, short.exit, line);
    assert.equal(same.out, short.out, line);
  }
  assert.deepEqual((await run(": " + "x".repeat(200_000) + "\nfalse")).exit, {
    kind: "exit",
    code: 1,
  });
});

test("SSH-11: a line that is not UTF-8 reaches the shell as it is", async ({ backend }) => {
  const line = concat([utf8("printf %s '"), new Uint8Array([0xff, 0xe9, 0x80]), utf8("'")]);
  await using process = await backend.run(NATIVE, { ...command(""), line });
  assert.deepEqual([...(await finish(process)).stdout], [0xff, 0xe9, 0x80]);
});

test("an environment that is longer than the system takes is refused as that", async (world) => {
  const env = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`V${i}`, "x".repeat(90_000)]),
  );
  await assert.rejects(
    world.backend.run(NATIVE, command("true", { env })),
    (error: OpenboxError) => error.code === "bad_environment",
  );
});

test("RUN-12: a command returns with all its output while its background job holds it", async (world) => {
  const { run, dir } = world;
  for (const line of ["sleep 300 &", "nohup sleep 300 &", "setsid sleep 300 &"]) {
    const startedAt = performance.now();
    const { out } = await run(`${line} echo $! >>${dir}/pids; echo hi`);
    assert.ok(performance.now() - startedAt < 1_000, line);
    assert.equal(out, "hi\n", line);
  }
  for (const pid of await pidsIn(`${dir}/pids`, 3)) {
    assert.ok(isAlive(pid), "what was put in the background lives on");
    Deno.kill(pid, "SIGKILL");
  }
});

test("RUN-12: a background job may go on writing after its command returned", async (world) => {
  const { run, dir } = world;
  const { out } = await run(
    `(sleep 0.6; echo late; echo late >&2; echo done >${dir}/done) & echo hi`,
  );
  assert.equal(out, "hi\n");
  await eventually("the job got past its writes", () => {
    return Deno.readTextFile(`${dir}/done`).catch(() => undefined);
  });
});

test("RUN-12: all output is kept where the consumer is slower than the command", async (world) => {
  await using process = await world.backend.run(NATIVE, command("head -c 3000000 /dev/zero"));
  let length = 0;
  for await (const chunk of process.stdout) {
    length += chunk.length;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(length, 3_000_000);
});

/** Starts its children in every way in which one can leave, each ignoring SIGTERM, and tells their numbers. */
const escapees = (dir: string) => `
trap '' TERM
note() { echo $1 >>${dir}/pids; }
sleep 300 & note $!
setsid sh -c 'echo $$ >>${dir}/pids; sleep 300' &
(setsid sh -c 'sleep 300 & echo $! >>${dir}/pids' &)
env -i setsid sh -c 'echo $$ >>${dir}/pids; exec sleep 300' &
note $$
wait; sleep 300`;

const hasCgroups = await openCgroups().then((cgroups) => {
  cgroups?.[Symbol.dispose]();
  return cgroups !== undefined;
});

for (const [name, own] of [["", undefined], [" in cgroup v2", "0::/\n"]] as const) {
  test(
    `RUN-13, EXE-14: a tree that ignores SIGTERM is gone within two seconds${name}`,
    async (world) => {
      const { backend, dir } = world;
      const process = await backend.run(NATIVE, command(escapees(dir)));
      const pids = await pidsIn(`${dir}/pids`, 5);
      const startedAt = performance.now();
      await process[Symbol.asyncDispose]();
      assert.ok(performance.now() - startedAt < 2_000, `${performance.now() - startedAt} ms`);
      for (const pid of pids) assert.ok(!isAlive(pid), `${pid} of ${pids} lives`);
    },
    { ignore: !hasCgroups, findCgroups: () => openCgroups(own) },
  );
}

test("without cgroups a group that ignores SIGTERM is gone within two seconds", async (world) => {
  const { backend, dir } = world;
  const line = `trap '' TERM; sleep 300 & echo $! >>${dir}/pids; echo $$ >>${dir}/pids; wait`;
  const process = await backend.run(NATIVE, command(line));
  const pids = await pidsIn(`${dir}/pids`, 2);
  const startedAt = performance.now();
  await process[Symbol.asyncDispose]();
  assert.ok(performance.now() - startedAt < 2_600, `${performance.now() - startedAt} ms`);
  for (const pid of pids) assert.ok(!isAlive(pid));
}, { findCgroups: () => Promise.resolve(undefined) });

test("RUN-10: SIGINT reaches the whole group, whatever the agent's parent ignored", async (world) => {
  await using process = await world.backend.run(NATIVE, command("cat; echo not"));
  const reader = process.stdout.getReader(), writer = process.stdin.getWriter();
  // a signal between fork and exec is lost in dash, so its child must be there already
  await Promise.all([writer.write(utf8("ready")), reader.read()]);
  process.kill("SIGINT");
  assert.deepEqual(await process.exit, { kind: "signal", signal: "INT", number: 2 });
  assert.ok((await reader.read()).done);
});

test("RUN-10: a command that was told to end leaves nothing behind", async ({ backend, dir }) => {
  {
    // a shell has what it puts in the background ignore SIGINT
    const line = `sleep 300 & echo $! >>${dir}/pids; echo ready; wait`;
    await using process = await backend.run(NATIVE, command(line));
    const reader = process.stdout.getReader();
    await reader.read();
    process.kill("SIGINT");
    await process.exit;
    while (!(await reader.read()).done);
  }
  const [pid] = await pidsIn(`${dir}/pids`, 1);
  assert.ok(!isAlive(pid!));
});

test("RUN-10: SIGKILL reaches the whole tree at once", async ({ backend, dir }) => {
  await using process = await backend.run(NATIVE, command(escapees(dir)));
  const pids = await pidsIn(`${dir}/pids`, 5);
  process.kill("SIGKILL");
  assert.equal(status(await process.exit), 137);
  await eventually("all are gone", () => !pids.some(isAlive), 1_000);
}, { ignore: !hasCgroups });

test("RUN-14, EXE-15: a producer waits for its consumer, and memory stays flat", async (world) => {
  await using process = await world.backend.run(
    NATIVE,
    command(`head -c 1000000000 /dev/zero; echo end >&2`),
  );
  const reader = process.stdout.getReader();
  await reader.read();
  const before = await usedMemory();
  const stderr = process.stderr.getReader();
  const ended = stderr.read();
  const first = await Promise.race([
    ended.then(() => "ended"),
    new Promise((resolve) => setTimeout(() => resolve("waits"), 1_000)),
  ]);
  assert.equal(first, "waits");
  assert.ok(await usedMemory() - before < 16 * 1024 * 1024);
  await reader.cancel();
  await ended;
});

test("EXE-7: umask 022, no descriptor beyond the three, no agent's environment", async (world) => {
  await using held = await Deno.open("/dev/null");
  const { out } = await world.run(
    "umask; for fd in /proc/self/fd/*; do echo ${fd##*/}; done | sort -n",
  );
  // the glob's own descriptor is 3
  assert.deepEqual(out.trim().split("\n"), ["0022", "0", "1", "2", "3"]);
  assert.notEqual(held, undefined);
  const environ = (await world.run("tr '\\0' '\\n' </proc/$$/environ")).out;
  // dash exports PWD by itself
  assert.equal(environ.replace(/^PWD=.*\n/m, ""), "PATH=/usr/local/bin:/usr/bin:/bin\n");
}, { ignore: Deno.build.os !== "linux" });

test("EXE-7: a command starts in the directory it was given, blanks and all", async (world) => {
  const cwd = `${world.dir}/a b 'c`;
  await Deno.mkdir(cwd);
  await using process = await world.backend.run(NATIVE, command("pwd -P", { cwd }));
  assert.equal((await finish(process)).out, `${await Deno.realPath(cwd)}\n`);
});

test("a run that ended leaves no cgroup, and none stays when the backend is disposed", async () => {
  const cgroups = (await openCgroups())!;
  const { path } = cgroups;
  {
    await using backend = await openNativeBackend({ findCgroups: () => Promise.resolve(cgroups) });
    for (let i = 0; i < 3; i++) {
      await using process = await backend.run(NATIVE, command("true"));
      await finish(process);
    }
    for await (const { name, isDirectory } of Deno.readDir(path)) {
      assert.ok(!isDirectory, name);
    }
  }
  await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
}, { ignore: !hasCgroups });

test("disposing the backend ends what still goes on", async ({ dir }) => {
  const backend = await openNativeBackend();
  await backend.run(NATIVE, command(`echo $$ >${dir}/pids; exec sleep 300`));
  const [pid] = await pidsIn(`${dir}/pids`, 1);
  await backend[Symbol.asyncDispose]();
  assert.ok(!isAlive(pid!));
});
