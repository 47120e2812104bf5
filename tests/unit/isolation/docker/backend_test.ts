import assert from "node:assert/strict";
import { text, utf8 } from "../../../../src/bytes.ts";
import type { Command, Confinement, Process } from "../../../../src/isolation/backend.ts";
import { openDockerBackend } from "../../../../src/isolation/docker/backend.ts";
import { command, finish } from "../../../contract/isolation.ts";
import { requireComponent } from "../../../fixtures/component.ts";
import { sharedHost } from "../../../fixtures/docker_host.ts";
import { api, containersOf, makeImage, placeOf } from "../../../fixtures/dockerd.ts";
import { eventually } from "../../../fixtures/processes.ts";

let made: Promise<string> | undefined;
const image = () =>
  made ??= makeImage(sharedHost()!, "openbox-runs", {
    files: { "/bin/entry": '#!/bin/sh\nexport ENTERED=yes\nexec "$@"\n' },
  });

function openWorld() {
  const host = sharedHost()!, owner = `test-${crypto.randomUUID()}`;
  const backend = openDockerBackend({ ...placeOf(host), owner, boot: "now" });
  const start = async (line: string, more: Partial<Command> = {}, as?: string): Promise<Process> =>
    await backend.run(
      { kind: "docker", image: as ?? await image() },
      command(line, { env: {}, cwd: undefined, ...more }),
    );
  return {
    host,
    owner,
    backend,
    start,
    async run(line: string, more: Partial<Command> = {}, input: string | Uint8Array = "") {
      await using process = await start(line, more);
      return await finish(process, input);
    },
    held: async (line: string, confinement: Confinement) => {
      await using process = await start(line, { confinement });
      return await finish(process);
    },
    containers: () => containersOf(host, owner),
    [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
  };
}
type World = ReturnType<typeof openWorld>;

function test(name: string, body: (world: World) => Promise<void>) {
  Deno.test(name, requireComponent("docker-engine", "busybox"), async () => {
    await using world = openWorld();
    await body(world);
  });
}

const code = ({ exit }: { exit: Awaited<Process["exit"]> }) =>
  exit.kind === "exit" ? exit.code : 128 + exit.number;

test("ISO-1, RUN-2: bytes of any kind come through, on each stream and on both", async ({ run }) => {
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const big = new Uint8Array(4 << 20).map((_, i) => bytes[i % bytes.length]!);
  const through = await run("tee /dev/stderr 2>/dev/null || cat", {}, big).catch(() => undefined);
  assert.ok(through);
  const { stdout, stderr } = await run(
    "cat | { cat >/tmp/f; cat /tmp/f; cat /tmp/f >&2; }",
    {},
    big,
  );
  assert.deepEqual(stdout, big);
  assert.deepEqual(stderr, big);
});

test("ISO-1, RUN-5, RUN-7: codes are exact, and signals are told as such", async ({ run }) => {
  for (const n of [0, 1, 77, 126, 127, 254, 255]) assert.equal(code(await run(`exit ${n}`)), n);
  const killed = await run("kill -9 $$");
  assert.deepEqual(killed.exit, { kind: "signal", signal: "KILL", number: 9 });
  assert.equal(killed.err, "", "no shell of ours has a word to say");
  assert.deepEqual((await run("kill -35 $$")).exit, { kind: "signal", signal: "RT35", number: 35 });
  const missing = await run("/no/such");
  assert.equal(code(missing), 127);
  assert.match(missing.err, /not found/);
  assert.equal(code(await run("/etc/passwd")), 126);
});

test("ISO-1, RUN-8: a line of a megabyte, and bytes that are no text", async ({ run, start }) => {
  assert.equal((await run(`cat; : ${"x".repeat(1 << 20)}; echo $#`, {}, "in ")).out, "in 0\n");
  const line = new Uint8Array([...utf8("printf '%s' '"), 0xff, 0xfe, ...utf8("'")]);
  await using process = await start("", { line });
  assert.deepEqual((await finish(process)).stdout, new Uint8Array([0xff, 0xfe]));
  assert.equal((await run("-x; echo $0")).out, "/bin/sh\n");
});

test("ISO-1, RUN-12: what stays in the background does not hold the answer, and ends with it", async (world) => {
  await using process = await world.start("sleep 300 & setsid sleep 300 & echo hi");
  const start = performance.now();
  const { out, exit } = await finish(process);
  assert.deepEqual([out, exit], ["hi\n", { kind: "exit", code: 0 }]);
  assert.ok(performance.now() - start < 3_000);
  await process[Symbol.asyncDispose]();
  assert.equal((await world.containers()).length, 0);
});

test("ISO-1, RUN-10, RUN-13: a tree that ignores signals is gone after the grace", async (world) => {
  const stubborn =
    `sh -c 'trap "" INT TERM HUP; echo begun; while :; do sleep 1; done'; echo AFTER`;
  await using process = await world.start(stubborn);
  const reader = process.stdout.getReader();
  assert.equal(text((await reader.read()).value!), "begun\n");
  process.kill("SIGINT");
  const start = performance.now();
  await process.terminate();
  assert.ok(performance.now() - start < 4_000);
  assert.deepEqual(await process.exit, { kind: "signal", signal: "TERM", number: 15 });
  assert.ok((await reader.read()).done);
  const [container] = await world.containers();
  const { Processes } = JSON.parse(
    await api(world.host, "GET", `/containers/${container!.Id}/top?ps_args=-o pid,args`),
  );
  assert.ok(!JSON.stringify(Processes).includes("sleep"), JSON.stringify(Processes));
  await process[Symbol.asyncDispose]();
  assert.equal((await world.containers()).length, 0);
});

test("ISO-1, RUN-10: a signal comes once, also where kill knows no --", async ({ start }) => {
  await using process = await start(
    "trap 'echo caught' INT; echo begun; read _; read _; echo over",
  );
  const reader = process.stdout.getReader(), writer = process.stdin.getWriter();
  assert.equal(text((await reader.read()).value!), "begun\n");
  process.kill("SIGINT");
  await writer.write(utf8("\n"));
  let seen = "";
  while (!seen.includes("caught")) seen += text((await reader.read()).value!);
  await writer.write(utf8("\n\n"));
  for (let part; !(part = await reader.read()).done;) seen += text(part.value);
  assert.equal(seen.split("caught").length, 2, seen);
  assert.match(seen, /over/);
});

test("ISO-1, RUN-10: Ctrl-C reaches the whole group", async ({ start }) => {
  await using process = await start("sh -c 'echo begun; exec sleep 300' | cat");
  const reader = process.stdout.getReader();
  assert.equal(text((await reader.read()).value!), "begun\n");
  process.kill("SIGINT");
  reader.releaseLock();
  assert.equal(code(await finish(process)), 130);
});

test("ISO-1, RUN-17: a line comes when it is written", async ({ start }) => {
  await using process = await start("for i in 1 2 3; do echo $i; read _; done");
  const reader = process.stdout.getReader(), writer = process.stdin.getWriter();
  for (const line of ["1\n", "2\n", "3\n"]) {
    assert.equal(text((await reader.read()).value!), line);
    await writer.write(utf8("\n"));
  }
  assert.ok((await reader.read()).done);
});

test("ISO-1: ENTRYPOINT, ENV, WORKDIR and USER apply as they do for docker run", async (world) => {
  const special = await makeImage(world.host, "openbox-special", {
    files: { "/bin/entry": '#!/bin/sh\nexport ENTERED=yes\nexec "$@"\n' },
    changes: ["ENV FROM_IMAGE=1", "WORKDIR /job/in", "USER person", 'ENTRYPOINT ["/bin/entry"]'],
  });
  const run = async (line: string, more: Partial<Command> = {}) => {
    await using process = await world.start(line, more, special);
    return (await finish(process)).out;
  };
  const line = "echo $ENTERED $FROM_IMAGE $GIVEN; pwd; id -u; echo $HOME";
  assert.equal(await run(line, { env: { GIVEN: "a b" } }), "yes 1 a b\n/job/in\n1000\n/tmp\n");
  assert.equal(await run("pwd", { cwd: ".." }), "/job\n", "from WORKDIR, where it is relative");
  assert.equal(await run("pwd", { cwd: "/bin" }), "/bin\n");
});

test("ISO-8, RUN-19: a directory that cannot be is refused, and not made", async (world) => {
  for (const cwd of ["/missing", "/bin/sh", "relative/missing"]) {
    await assert.rejects(world.start("pwd", { cwd }), { code: "bad_directory" }, cwd);
  }
  await eventually("nothing is left", async () => (await world.containers()).length === 0);
});

test("ISO-7: memory, processes, cores and shared memory are held", async ({ held }) => {
  const eaten = await held("head -c 200m /dev/zero | tail >/dev/null; exit $?", {
    memoryBytes: 32 << 20,
  });
  assert.equal(code(eaten), 137);
  const forks = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all";
  assert.notEqual((await held(forks, { pids: 10 })).out, "all\n");
  const quota = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || " +
    "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us";
  assert.match((await held(quota, { cpus: 0.5 })).out, /^50000\s100000\n$/);
  assert.match((await held(quota, { cpus: 1_000 })).out, /^\d+\s100000\n$/, "capped at the cores");
  const shm = "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2";
  assert.equal((await held(shm, { shmBytes: 8 << 20 })).out, "8192\n");
  assert.equal((await held("ls /sys/class/net", { net: "none" })).out, "lo\n");
});

test("ISO-7: what the engine cannot hold is refused", async ({ held }) => {
  await assert.rejects(held("true", { gpus: "all" }), { code: "limit_unsupported" });
  await assert.rejects(held("true", { gpus: "nonsense" }), { code: "limit_unsupported" });
  await assert.rejects(held("true", { memoryBytes: 1 }), { code: "limit_unsupported" });
});

test("EXE-9: what a container may not do, it cannot", async (world) => {
  const { held, start } = world;
  const { out } = await held(
    "grep -E 'CapBnd|CapEff|NoNewPrivs|Seccomp:' /proc/self/status; " +
      "mknod /tmp/d b 8 0 2>/dev/null || echo no device; mount -t tmpfs t /tmp 2>/dev/null || echo no mount; " +
      "ls /var/run/docker.sock 2>/dev/null || echo no socket",
    {},
  );
  const caps = BigInt(`0x${/CapEff:\s*(\S+)/.exec(out)![1]}`);
  const has = (bit: bigint) => (caps >> bit & 1n) === 1n;
  const NET_RAW = 13n, MKNOD = 27n, SYS_ADMIN = 21n, CHOWN = 0n;
  assert.deepEqual([NET_RAW, MKNOD, SYS_ADMIN, CHOWN].map(has), [false, false, false, true]);
  assert.match(out, /NoNewPrivs:\s*1/);
  assert.match(out, /no device\nno mount\nno socket\n$/);
  await using process = await start("sleep 300");
  const [container] = await world.containers();
  const facts = JSON.parse(await api(world.host, "GET", `/containers/${container!.Id}/json`));
  assert.equal(facts.HostConfig.PidsLimit, 4096);
  assert.equal(facts.HostConfig.LogConfig.Type, "none");
  assert.deepEqual(facts.Mounts, []);
  await process.terminate();
});

test("KIL-10: a container goes before the agent does where memory runs out", async ({ run }) => {
  assert.equal((await run("cat /proc/self/oom_score_adj")).out, "500\n");
});

test("EXE-9: the profile `untrusted` has no network, no capability and nothing to write but scratch", async (world) => {
  const { out, err } = await world.held(
    "id -u; grep CapEff /proc/self/status; ls /sys/class/net; touch /x 2>/dev/null || echo read-only; " +
      "touch /tmp/x && echo scratch",
    { untrusted: true },
  );
  assert.equal(out, "65534\nCapEff:\t0000000000000000\nlo\nread-only\nscratch\n", err);
});

test("ISO-8: a mount is what it says, and never the engine's socket", async ({ held, host }) => {
  const source = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${source}/a`, "kept\n");
    const mount = (more: { readOnly: boolean }) => ({
      mounts: [{ source, target: "/m", ...more }],
    });
    const line = "cat /m/a; echo x 2>/dev/null >/m/b && echo wrote";
    assert.equal((await held(line, mount({ readOnly: true }))).out, "kept\n");
    assert.equal((await held(line, mount({ readOnly: false }))).out, "kept\nwrote\n");
    const missing = { source: `${source}/no`, target: "/m", readOnly: true };
    await assert.rejects(held("true", { mounts: [missing] }), { code: "mount_invalid" });
    const socket = host.replace("unix://", "");
    for (const bad of [socket, socket.replace(/\/[^/]*$/, ""), "/"]) {
      const mounts = [{ source: bad, target: "/m", readOnly: true }];
      await assert.rejects(held("true", { mounts }), { code: "mount_not_allowed" }, bad);
    }
  } finally {
    await Deno.remove(source, { recursive: true });
  }
});

test("ISO-6: what an agent before this one left is removed at the start", async ({ host }) => {
  const owner = `test-${crypto.randomUUID()}`, other = `test-${crypto.randomUUID()}`;
  const leave = async (owner: string) => {
    const { Id } = JSON.parse(
      await api(host, "POST", "/containers/create", {
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          Image: await image(),
          Cmd: ["sleep", "300"],
          Labels: { "io.openbox.owner": owner, "io.openbox.boot": "before" },
          HostConfig: { NetworkMode: "none" },
        }),
      }),
    );
    await api(host, "POST", `/containers/${Id}/start`);
    return Id as string;
  };
  await leave(owner);
  const kept = await leave(other);
  {
    await using _backend = openDockerBackend({ ...placeOf(host), owner, boot: "now" });
    await eventually("it is removed", async () => (await containersOf(host, owner)).length === 0);
  }
  assert.equal((await containersOf(host, other)).length, 1, "another agent's is let alone");
  await api(host, "DELETE", `/containers/${kept}?force=1`);
});

test("ISO-6, RES-1: a container ends with the agent, however that ends", async ({ host }) => {
  const owner = `test-${crypto.randomUUID()}`;
  const agent = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-prompt", "--no-check", "--quiet"],
      new URL("agent.ts", import.meta.url).pathname,
      ...[host, owner, await image()],
    ],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = agent.stdout.getReader();
  assert.equal(text((await reader.read()).value!), "running\n");
  const before = await containersOf(host, owner);
  assert.deepEqual(before.map(({ State }) => State), Array.from({ length: 10 }, () => "running"));
  agent.kill("SIGKILL");
  await Promise.all([agent.status, reader.cancel()]);
  await eventually("all are gone", async () => (await containersOf(host, owner)).length === 0);
});

test("RES-7: a session's commands leave nothing with the engine", async ({ backend, host, containers }) => {
  await using shell = await backend.keepShell(
    { kind: "docker", image: await image() },
    { argv: ["/bin/sh"], env: {}, cwd: "/" },
  );
  const turn = async () => {
    await using relay = await shell.openRelay();
    await relay.writeCommand(utf8("echo said"));
    await shell.tell(`. ${relay.base}.c <${relay.base}.0 >${relay.base}.1\n`);
    assert.equal(text((await relay.stdout.read())!), "said\n");
  };
  await turn();
  const [container] = await containers();
  const execs = async () =>
    (JSON.parse(await api(host, "GET", `/containers/${container!.Id}/json`)).ExecIDs ?? []).length;
  const before = await execs();
  for (let i = 0; i < 60; i++) await turn();
  await eventually("the engine forgets them", async () => await execs() <= before);
  assert.ok((await shell.processes()).size <= 1);
});
