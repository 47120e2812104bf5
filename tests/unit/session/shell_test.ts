import assert from "node:assert/strict";
import { utf8 } from "../../../src/bytes.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { eventually, isAlive, pidsIn } from "../../fixtures/processes.ts";
import {
  finish,
  openNspawnSession,
  openSession,
  readAll,
  SHELLS,
  type TestSession,
} from "./world.ts";

type Program = (typeof SHELLS)[number] | "nspawn";

const open = (program: Program) =>
  program === "nspawn" ? openNspawnSession() : openSession(program);

/** The same on each shell that a session may have, and in a container where the body sees only its own files. */
function test(
  name: string,
  body: (session: TestSession, program: Program) => Promise<void>,
  { inside = false }: { inside?: boolean } = {},
) {
  const [id, ...words] = name.split(": ");
  if (inside) {
    const components = ["systemd-nspawn", "busybox", "mkfifo", "linux-root"] as const;
    Deno.test(`ISO-2, ${name}`, requireComponent(...components), async () => {
      await using session = await open("nspawn");
      await body(session, "nspawn");
    });
  }
  for (const program of SHELLS) {
    const title = `${id}: ${program}: ${words.join(": ")}`;
    Deno.test(title, requireComponent(program, "mkfifo"), async () => {
      await using session = await openSession(program);
      await body(session, program);
    });
  }
}

/** Within which a session answers whatever it was told. */
async function inTime<T>(ms: number, promise: Promise<T>): Promise<T> {
  const start = performance.now();
  const value = await promise;
  const took = performance.now() - start;
  assert.ok(took < ms, `${Math.round(took)} ms`);
  return value;
}

test("SEQ-1: what a command changed is there for the next", async ({ run }) => {
  await run("cd /usr; export EXPORTED='a b'; plain=1; greet() { echo hello $1; }; file=$(mktemp)");
  await run("alias again='echo aliased'; umask 027; set -o noglob; set -- x y");
  await run('echo line one >"$file"; exec 3<"$file"; rm "$file"');
  const { out, err } = await run(
    "pwd; sh -c 'echo \"$EXPORTED\"'; echo $plain; greet you; again; umask; echo *; " +
      'read -r first <&3; echo "$first"; echo $#; set +o noglob',
  );
  assert.deepEqual(out.split("\n"), [
    "/usr",
    "a b",
    "1",
    "hello you",
    "aliased",
    ...[out.split("\n")[5]],
    "*",
    "line one",
    "2",
    "",
  ]);
  assert.equal(Number.parseInt(out.split("\n")[5]!, 8), 0o027);
  assert.equal(err, "");
  const job = await run("sleep 0.05 & job=$!; true");
  assert.equal(job.code, 0);
  assert.equal((await run("wait $job; echo $?")).out, "0\n");
}, { inside: true });

test(
  "SEQ-4: what waits for more input, or is half a command, ends; the session lives",
  async ({ run }) => {
    await run("cd /usr; kept=1");
    const half = [
      ["cat", 0],
      ["read x", 1],
      ["echo 'a", undefined],
      ["cat <<END\nopen", undefined],
      ["if true; then", undefined],
      [")", undefined],
      ["echo trailing \\", 0],
      ["sh", 0],
      [": ${absent?gone}", undefined],
    ] as const;
    for (const [line, code] of half) {
      const ran = await inTime(1_000, run(line));
      if (code !== undefined) assert.equal(ran.code, code, line);
      else if (!line.startsWith("cat")) assert.notEqual(ran.code, 0, line);
      assert.equal((await run("pwd; echo $kept")).out, "/usr\n1\n", `after ${line}`);
    }
    assert.match((await run("echo 'a")).err, /quote|unmatched|matching/);
  },
  { inside: true },
);

test("SEQ-5: input reaches its command alone, its end included", async ({ run }) => {
  assert.equal((await run("wc -c", "four")).out.trim(), "4");
  assert.equal(
    (await run('read -r first; echo "<$first>"; cat', "one\ntwo\n")).out,
    "<one>\ntwo\n",
  );
  assert.equal((await run("true", "nobody reads this")).code, 0);
  assert.equal((await run("cat")).out, "", "nothing of the one before");
  const big = crypto.getRandomValues(new Uint8Array(65_536));
  const many = new Uint8Array(5 * 1024 * 1024).map((_, i) => big[i % big.length]!);
  const { bytes } = await run("cat", many);
  assert.deepEqual(await sha(bytes), await sha(many));
}, { inside: true });

const sha = async (bytes: Uint8Array) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes))).toHex();

test("SES-4: both outputs are what one run's are", async ({ backend, run }) => {
  const line = "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; " +
    "printf 'no newline'; printf '\\000\\377' >&2";
  const env = { PATH: "/usr/bin:/bin" };
  const single = await finish(
    await backend.run({ kind: "native" }, { line: utf8(line), env, cwd: "/" }),
  );
  const inSession = await run(line);
  assert.equal(inSession.out, single.out);
  assert.equal(inSession.err, single.err);
});

test("SEQ-7: output that looks like anything of ours is output", async ({ run }) => {
  const { out, code } = await run("set; echo; printf '\\n%s 1 0\\n' token; (exit 7)");
  assert.equal(code, 7);
  assert.match(out, /\ntoken 1 0\n$/);
  const zeros = await run("head -c 100000 /dev/zero; exit_() { return 9; }; exit_");
  assert.equal(zeros.code, 9);
  assert.deepEqual(zeros.bytes, new Uint8Array(100_000));
  const traced = await run("set -x; echo seen; false");
  assert.deepEqual([traced.out, traced.code], ["seen\n", 1]);
  await run("set +x");
  const big = await run("head -c 16777216 /dev/urandom | tee /dev/stderr | cksum; true");
  assert.equal(big.code, 0);
  assert.match((await run("set -u; set +u; IFS=x; echo a b")).out, /^a b\n$/);
}, { inside: true });

test("SEQ-8: what a background job still says turns up nowhere", async ({ run }) => {
  const { out } = await inTime(
    1_000,
    run("{ sleep 0.3; echo late; echo late >&2; sleep 300; } & echo now"),
  );
  assert.equal(out, "now\n");
  const later = await run("sleep 0.5; echo mine");
  assert.deepEqual([later.out, later.err], ["mine\n", ""]);
}, { inside: true });

test(
  "SEQ-6: an end of the shell is its code, with all that was said before",
  async (_, program) => {
    const ends: [string, number][] = [
      ["echo last; exit 3", 3],
      ["exec sh -c 'echo last; exit 4'", 4],
      ["echo last; kill -9 $$", 137],
      ["echo last; set -e; false; echo never", 1],
    ];
    for (const [line, code] of ends) {
      await using session = await open(program);
      const ran = await session.run(line);
      assert.deepEqual([ran.out, ran.code], ["last\n", code], line);
      await eventually("the shell's end is known", () => session.shell.ended);
      await assert.rejects(session.run("true"), { code: "unavailable" });
    }
  },
  { inside: true },
);

test(
  "SEQ-9: Ctrl-C ends a loop, a pipeline, a list; the rest does not run, the state is kept",
  async ({ run, start }, program) => {
    await run("cd /usr; kept=1; sleep 300 & job=$!");
    const lines = [
      "sleep 300; echo AFTER",
      "while :; do :; done; echo AFTER",
      "sleep 300 | cat; echo AFTER",
      "f() { while :; do sleep 0.01; done; }; f; echo AFTER",
    ];
    for (const line of lines) {
      const process = await start(line);
      const finished = finish(process);
      await new Promise((resolve) => setTimeout(resolve, 50)); // whatever it began
      process.kill("SIGINT");
      // bash drops one that comes just as a child ends by itself, on a terminal too: it is pressed again
      const again = setInterval(() => process.kill("SIGINT"), 250);
      const { out, code } = await inTime(1_000, finished).finally(() => clearInterval(again));
      assert.deepEqual([out, code], ["", 130], line);
      assert.equal((await inTime(2_000, run("pwd; echo $kept"))).out, "/usr\n1\n", line);
    }
    assert.equal((await run("kill -0 $job && kill $job; echo $?")).out, "0\n", "jobs survive");
    const own = await start(
      `trap 'echo caught' INT; echo ready; sleep 1; echo went on; trap - INT`,
    );
    const reading = finish(own);
    await new Promise((resolve) => setTimeout(resolve, 200));
    own.kill("SIGINT");
    const { out } = await inTime(2_000, reading);
    if (program !== "zsh") assert.match(out, /caught/); // its `trap` in a sourced file belongs to the file
  },
  { inside: true },
);

test("SES-16: a command that ignores SIGINT and SIGTERM is ended, the shell last", async ({ run, start, shell }) => {
  const file = await Deno.makeTempFile();
  try {
    await run("kept=1");
    const stubborn = [
      `sh -c 'trap "" INT; echo $$ >>${file}; while :; do sleep 1; done'`,
      `sh -c 'trap "" INT TERM; echo $$ >>${file}; while :; do sleep 1; done'`,
    ];
    for (const [i, line] of stubborn.entries()) {
      const process = await start(line);
      const finished = finish(process);
      const pids = await pidsIn(file, i + 1);
      await inTime(2_500, process.terminate());
      await finished;
      await eventually("it is gone", () => !isAlive(pids[i]!));
      if (!shell.ended) assert.equal((await inTime(2_000, run("echo $kept"))).out, "1\n", line);
    }
    assert.equal(shell.ended, false, "the session is kept");
    const killed = await start(
      `sh -c 'trap "" INT TERM; echo $$ >>${file}; while :; do sleep 1; done'`,
    );
    const finished = finish(killed);
    const [, , pid] = await pidsIn(file, 3);
    killed.kill("SIGKILL");
    await inTime(1_000, finished);
    await eventually("it is gone", () => !isAlive(pid!));
    assert.equal((await run("echo $kept")).out, "1\n");
  } finally {
    await Deno.remove(file);
  }
});

test("SES-1: no command can hang the session for good", async ({ run, start }, program) => {
  await run("kept=1");
  // plain shells read on with -n and do nothing more, so that only their end helps
  const process = await start("set -n");
  const finished = finish(process);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await inTime(5_000, process.terminate());
  await finished;
  if (program === "bash" || program === "zsh") assert.equal((await run("echo $kept")).out, "1\n");
}, { inside: true });

test(
  "SES-5: with nobody left to read, a flood ends and the session is kept",
  async ({ run, start }) => {
    await run("kept=1");
    const process = await start("yes");
    const reader = process.stdout.getReader();
    await reader.read();
    await reader.cancel();
    await inTime(2_500, process.exit);
    await process[Symbol.asyncDispose]();
    assert.equal((await run("echo $kept")).out, "1\n");
  },
  { inside: true },
);

test("SEQ-9: what ends a session ends its whole tree", async (session) => {
  const file = await Deno.makeTempFile();
  try {
    await session.run(`sleep 300 & echo $! >>${file}; setsid sleep 300 & echo $! >>${file}`);
    const pids = await pidsIn(file, 2);
    await inTime(2_000, Promise.resolve(session.shell[Symbol.asyncDispose]()));
    for (const pid of pids) assert.equal(isAlive(pid), false);
  } finally {
    await Deno.remove(file);
  }
});

test("RUN-8: a line of a megabyte, and bytes that are no text", async ({ run, shell }) => {
  const { out, code } = await run(`: ${"x".repeat(1024 * 1024)}; echo done`);
  assert.deepEqual([out, code], ["done\n", 0]);
  const line = new Uint8Array([...utf8("printf '%s' '"), 0xff, 0xfe, ...utf8("'")]);
  const process = await shell.run(line);
  await process.stdin.close();
  const [bytes] = await Promise.all([readAll(process.stdout), readAll(process.stderr)]);
  await process[Symbol.asyncDispose]();
  assert.deepEqual([...bytes], [0xff, 0xfe]);
}, { inside: true });
