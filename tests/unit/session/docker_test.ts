import assert from "node:assert/strict";
import { text, utf8 } from "../../../src/bytes.ts";
import { openDockerBackend } from "../../../src/isolation/docker/backend.ts";
import type { IsolationSpec } from "../../../src/isolation/spec.ts";
import { chooseDialectInside } from "../../../src/session/dialect.ts";
import { openSessionShell } from "../../../src/session/shell.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { sharedHost } from "../../fixtures/docker_host.ts";
import { containersOf, makeImage, placeOf } from "../../fixtures/dockerd.ts";
import { eventually } from "../../fixtures/processes.ts";
import { finish } from "./world.ts";

const PROGRAMS = ["busybox", "bash"] as const;
type Program = (typeof PROGRAMS)[number];

const images = new Map<Program, Promise<string>>();

function imageOf(program: Program): Promise<string> {
  const made = images.get(program) ??
    makeImage(sharedHost()!, `openbox-session-${program}`, {
      programs: program === "bash" ? ["bash"] : [],
      changes: ["WORKDIR /job", "ENV FROM_IMAGE=yes"],
    });
  images.set(program, made);
  return made;
}

async function openSession(program: Program) {
  await using stack = new AsyncDisposableStack();
  const host = sharedHost()!, owner = `test-${crypto.randomUUID()}`;
  const backend = stack.use(openDockerBackend({ ...placeOf(host), owner, boot: "1" }));
  const spec: IsolationSpec = { kind: "docker", image: await imageOf(program) };
  const dialect = await chooseDialectInside((paths) => backend.findProgram(spec, paths));
  const shell = stack.use(
    await openSessionShell(backend, spec, { dialect, env: { GIVEN: "too" }, cwd: undefined }),
  );
  const owned = stack.move();
  const start = (line: string | Uint8Array) =>
    shell.run(typeof line === "string" ? utf8(line) : line);
  return {
    dialect,
    shell,
    start,
    containers: () => containersOf(host, owner),
    run: async (line: string | Uint8Array, stdin?: string | Uint8Array) =>
      await finish(await start(line), stdin),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
type Session = Awaited<ReturnType<typeof openSession>>;

function test(name: string, body: (session: Session, program: Program) => Promise<void>) {
  const [id, ...words] = name.split(": ");
  for (const program of PROGRAMS) {
    const title = `ISO-1, ${id}: docker, ${program}: ${words.join(": ")}`;
    Deno.test(title, requireComponent("docker-engine", "busybox", "bash"), async () => {
      await using session = await openSession(program);
      await body(session, program);
    });
  }
}

test(
  "SEQ-1, ISO-9: ten commands share one container, its files and the shell's state",
  async (session, program) => {
    const { run, containers } = session;
    assert.equal(session.dialect.kind, program === "bash" ? "bash" : "ash");
    assert.equal((await run("pwd; echo $FROM_IMAGE $GIVEN")).out, "/job\nyes too\n");
    await run("cd /tmp; export EXPORTED='a b'; plain=1; greet() { echo hello $1; }; umask 027");
    await run("echo content >file; exec 3<file");
    await run("alias again='echo aliased'");
    const { out, err, code } = await run(
      "pwd; sh -c 'echo \"$EXPORTED\"'; echo $plain; greet you; umask; read -r l <&3; echo $l; again; (exit 7)",
    );
    assert.match(out, /^\/tmp\na b\n1\nhello you\n0?027\ncontent\naliased\n$/);
    assert.deepEqual([err, code], ["", 7]);
    for (let i = 0; i < 5; i++) {
      assert.equal(
        (await run(`echo ${i}; cat file`)).out,
        `${i}\ncontent\n`,
      );
    }
    assert.equal((await containers()).length, 1);
    await session.shell[Symbol.asyncDispose]();
    await eventually("it ends with the session", async () => (await containers()).length === 0);
  },
);

test("SEQ-4, SEQ-5: half a command ends; input reaches its command alone", async ({ run }) => {
  await run("kept=1");
  for (const line of ["cat", "read x", "echo 'a", "if true; then", ")", "cat <<E"]) {
    const start = performance.now();
    await run(line);
    assert.ok(performance.now() - start < 5_000, line);
  }
  assert.equal((await run("cat; echo $kept", "in\0put")).out, "in\0put1\n");
  assert.equal((await run("head -c 3; echo", "abcdef")).out, "abc\n");
  const big = new Uint8Array(1 << 20).map((_, i) => i * 7);
  assert.deepEqual((await run("cat", big)).bytes, big);
  assert.equal((await run("cat; echo $kept")).out, "1\n");
});

test("SEQ-6: an end of the shell is its code, with all that was said before", async (session) => {
  const { out, code } = await session.run("echo before; exit 3");
  assert.deepEqual([out, code], ["before\n", 3]);
  assert.ok(session.shell.ended);
});

test("SEQ-6: a shell that is killed is told as that", async (session) => {
  const { out, exit } = await session.run("echo before; kill -9 $$");
  assert.deepEqual([out, exit], ["before\n", { kind: "signal", signal: "KILL", number: 9 }]);
});

test("SEQ-7, RUN-8: output of any kind, a line of a megabyte, and bytes that are no text", async ({ run }) => {
  const { bytes } = await run("head -c 4000000 /dev/zero; printf '\\n0 1 2\\n'");
  assert.equal(bytes.length, 4_000_007);
  const long = await run(`: ${"x".repeat(1024 * 1024)}; echo done`);
  assert.deepEqual([long.out, long.code], ["done\n", 0]);
  const line = new Uint8Array([...utf8("printf '%s' '"), 0xff, 0xfe, ...utf8("'")]);
  assert.deepEqual((await run(line)).bytes, new Uint8Array([0xff, 0xfe]));
});

test("SEQ-8: what a background job still says turns up nowhere", async ({ run }) => {
  const start = performance.now();
  assert.equal((await run("{ sleep 1; echo late; echo late >&2; } & echo now")).out, "now\n");
  assert.ok(performance.now() - start < 1_000);
  const { out, err } = await run("sleep 1.5; echo next");
  assert.deepEqual([out, err], ["next\n", ""]);
});

test("SEQ-7, SEQ-8: commands of random sizes and codes, some with a job that goes on", async ({ run }) => {
  let seed = 7;
  const next = (below: number) => (seed = (seed * 48271) % 0x7fffffff) % below;
  for (let i = 0; i < 40; i++) {
    const size = next(3) === 0 ? next(300_000) : next(200), errors = next(500), code = next(256);
    const input = "i".repeat(next(2) * next(20_000));
    const job = i % 5 === 0 ? "{ sleep 2; echo late; echo late >&2; } & " : "";
    const line = `${job}head -c ${size} /dev/zero | tr '\\000' o; printf '%${errors}s' '' >&2; ` +
      `wc -c >&2; (exit ${code})`;
    const ran = await run(line, input);
    assert.equal(ran.out, "o".repeat(size), `output of ${i}`);
    assert.equal(ran.err.trim(), `${input.length}`, `errors of ${i}`);
    assert.equal(ran.code, code, `code of ${i}`);
  }
});

test("SEQ-9: Ctrl-C ends what runs, the rest of the line does not run, the state is kept", async ({ run, start }) => {
  await run("cd /tmp; kept=1");
  // a Ctrl-C between the shell's fork and its child's exec is lost, as on a terminal: so it is the child who begins
  const lines = [
    "sh -c 'echo begun; exec sleep 300'; echo AFTER",
    "echo begun; while :; do :; done; echo AFTER",
    "sh -c 'echo begun; exec sleep 300' | cat; echo AFTER",
  ];
  for (const line of lines) {
    const process = await start(line);
    const reader = process.stdout.getReader();
    assert.equal(text((await reader.read()).value!), "begun\n");
    reader.releaseLock();
    process.kill("SIGINT");
    const { out, code } = await finish(process);
    assert.deepEqual([out, code], ["", 130], line);
    assert.equal((await run("pwd; echo $kept")).out, "/tmp\n1\n", line);
  }
});

test("SES-16: a command that ignores SIGINT and SIGTERM is ended, the shell kept", async ({ run, start }) => {
  await run("kept=1");
  const process = await start("sh -c 'trap \"\" INT TERM; echo begun; while :; do sleep 1; done'");
  const reader = process.stdout.getReader();
  assert.equal(text((await reader.read()).value!), "begun\n");
  reader.releaseLock();
  const [ran] = await Promise.all([finish(process), process.terminate()]);
  assert.notEqual(ran.code, 0);
  assert.equal((await run("echo $kept")).out, "1\n");
});

test("SEQ-10, RUN-9: a command whose reader is gone ends, the shell lives", async ({ run, start }) => {
  const process = await start("yes");
  const reader = process.stdout.getReader();
  await reader.read();
  await reader.cancel();
  await process.exit;
  await process[Symbol.asyncDispose]();
  assert.equal((await run("echo on")).out, "on\n");
});
