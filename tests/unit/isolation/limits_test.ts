/** Limits by control groups, in native and in nspawn. */
import assert from "node:assert/strict";
import { text } from "../../../src/bytes.ts";
import type { Confinement, Exit, IsolationBackend } from "../../../src/isolation/backend.ts";
import { openCgroups } from "../../../src/isolation/cgroup.ts";
import { openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { openNspawnBackend } from "../../../src/isolation/nspawn/backend.ts";
import { type IsolationSpec, NATIVE } from "../../../src/isolation/spec.ts";
import { command, finish } from "../../contract/isolation.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { makeTree } from "../../fixtures/nspawn_tree.ts";

interface World {
  readonly backend: IsolationBackend;
  readonly spec: IsolationSpec;
  run(line: string, confinement: Confinement): ReturnType<typeof finish>;
}

async function openWorld(kind: "native" | "nspawn", stack: AsyncDisposableStack): Promise<World> {
  const spec = kind === "native"
    ? NATIVE
    : { kind, root: stack.use(await makeTree()).root } as const;
  const backend = stack.use(kind === "native" ? await openNativeBackend() : openNspawnBackend());
  return {
    backend,
    spec,
    async run(line, confinement) {
      await using process = await backend.run(spec, command(line, { confinement }));
      return await finish(process);
    },
  };
}

function test(name: string, body: (world: World) => Promise<void>) {
  const needs = requireComponent("systemd-nspawn", "busybox", "linux-root");
  for (const kind of ["native", "nspawn"] as const) {
    Deno.test(`${name} (${kind})`, needs, async () => {
      await using stack = new AsyncDisposableStack();
      await body(await openWorld(kind, stack));
    });
  }
}

const status = (exit: Exit): number => exit.kind === "exit" ? exit.code : 128 + exit.number;
const MiB = 1024 * 1024;

test("ISO-7: a command that takes more memory than it may is killed", async ({ run }) => {
  // a line that tail must hold whole, since it never ends
  const line = "head -c 200000000 /dev/zero | tail -n 1 | wc -c; echo survived";
  const free = await run(line, {});
  assert.match(free.out, /^200000000\s+survived\s+$/);
  const held = await run("exec tail -n 1 /dev/zero", { memoryBytes: 64 * MiB });
  assert.equal(status(held.exit), 137);
});

test("ISO-7: a command has no more processes than it may", async ({ run }) => {
  const line = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; echo all";
  const { out, err } = await run(`(${line}); kill $(jobs -p) 2>/dev/null; true`, { pids: 10 });
  assert.equal(out.includes("all"), false);
  assert.match(err, /fork/);
});

test("ISO-7: a command has no more of the processors than it may", async ({ run }) => {
  const line = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; cat /proc/$$/stat";
  const { out } = await run(`${line}; cat /proc/uptime`, { cpus: 0.1 });
  const [stat, uptime] = out.split("\n");
  const fields = stat!.slice(stat!.lastIndexOf(")") + 2).split(" ").map(Number);
  const used = (fields[11]! + fields[12]!) / 100, lived = parseFloat(uptime!) - fields[19]! / 100;
  assert.ok(used / lived < 0.3, `${used} s of ${lived} s`);
});

test("RES-1: a fork bomb is held, the backend answers, and terminate ends it", async (world) => {
  const { backend, spec, run } = world;
  const bomb = "b() { b | b & }; echo lit; b; sleep 300";
  await using process = await backend.run(
    spec,
    command(bomb, { confinement: { pids: 50, volatile: spec.kind === "nspawn" } }),
  );
  const reader = process.stdout.getReader();
  assert.equal(text((await reader.read()).value!), "lit\n");
  const other = await run("echo answers", { volatile: spec.kind === "nspawn" });
  assert.equal(other.out, "answers\n");
  const startedAt = performance.now();
  await process.terminate();
  assert.ok(performance.now() - startedAt < 5_000, `${performance.now() - startedAt} ms`);
  await process.exit;
});

test("ISO-7: a session is held to its limits, all its commands together", async (world) => {
  const { backend, spec } = world;
  await using shell = await backend.keepShell(spec, {
    argv: ["/bin/sh"],
    env: { PATH: "/usr/bin:/bin" },
    cwd: "/",
    confinement: { memoryBytes: 64 * MiB, pids: 20 },
  });
  await shell.tell("tail -n 1 /dev/zero; echo $?\n");
  const reader = shell.stdout.getReader();
  assert.equal(text((await reader.read()).value!).trim(), "137");
  reader.releaseLock();
});

test("ISO-7: without cgroups a limit is refused, and nothing starts", async ({ spec }) => {
  const none = { findCgroups: () => Promise.resolve(undefined) };
  await using backend = spec.kind === "native"
    ? await openNativeBackend(none)
    : openNspawnBackend(none);
  for (const confinement of [{ memoryBytes: MiB }, { cpus: 1 }, { pids: 9 }]) {
    const asked = command("true", { confinement, terminal: { cols: 80, rows: 24 } });
    await assert.rejects(backend.run(spec, asked), { code: "limit_unsupported" });
    await assert.rejects(
      backend.keepShell(spec, { argv: ["/bin/sh"], env: {}, cwd: "/", confinement }),
      { code: "limit_unsupported" },
    );
  }
});

Deno.test("ISO-7: what native cannot hold on any machine is refused", async () => {
  await using backend = await openNativeBackend();
  const mounts = [{ source: "/etc", target: "/mnt", readOnly: true }];
  const refused: Confinement[] = [
    { shmBytes: MiB },
    { gpus: "all" },
    { net: "none" },
    { net: "bridge" },
    { mounts },
    { volatile: true },
    { untrusted: true },
  ];
  for (const confinement of refused) {
    await assert.rejects(
      backend.run(NATIVE, command("true", { confinement })),
      { code: "limit_unsupported" },
      JSON.stringify(confinement),
    );
  }
  await using process = await backend.run(
    NATIVE,
    command("true", { confinement: { net: "host" } }),
  );
  await finish(process);
});

Deno.test("ISO-7: a hierarchy without the controller refuses its limit", async () => {
  using cgroups = await openCgroups("0::/\n"); // where v1 has them, v2 lacks them
  if (!cgroups) return;
  const hasMemory = await Deno.readTextFile(`${cgroups.path}/cgroup.controllers`)
    .then((text) => text.includes("memory"));
  if (hasMemory) cgroups.create({ memoryBytes: MiB })!.release();
  else assert.throws(() => cgroups.create({ memoryBytes: MiB }), { code: "limit_unsupported" });
});

Deno.test("a limited run leaves no group behind", requireComponent("linux-root"), async () => {
  const cgroups = (await openCgroups())!;
  const name = cgroups.path.slice(cgroups.path.lastIndexOf("/") + 1);
  {
    await using backend = await openNativeBackend({ findCgroups: () => Promise.resolve(cgroups) });
    const confinement = { memoryBytes: 64 * MiB, cpus: 1, pids: 10 };
    await using process = await backend.run(NATIVE, command("true", { confinement }));
    assert.ok((await groupsCalled(name)).length > 1);
    await finish(process);
  }
  assert.deepEqual(await groupsCalled(name), []);
});

/** In whatever hierarchy. */
async function groupsCalled(name: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("/usr/bin/find", {
    args: ["/sys/fs/cgroup", "-type", "d", "-path", `*/${name}*`],
    stderr: "null",
  }).output();
  return text(stdout).split("\n").filter((line) => line !== "");
}
