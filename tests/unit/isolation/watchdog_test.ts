import assert from "node:assert/strict";
import { eventually, isAlive, pidsIn } from "../../fixtures/processes.ts";
import { openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { openCgroups } from "../../../src/isolation/cgroup.ts";
import { NATIVE } from "../../../src/isolation/spec.ts";
import { command } from "../../contract/isolation.ts";

const fixture = new URL("watched_process.ts", import.meta.url).pathname;

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

/** The shell that watches over `parent` and, in a process that has several, over the cgroups in `cgroups`. */
function watchdogOf(parent: number, cgroups = ""): number | undefined {
  const { stdout } = new Deno.Command("/bin/ps", { args: ["-ww", "-eo", "pid=,ppid=,args="] })
    .outputSync();
  const line = new TextDecoder().decode(stdout).split("\n").find((line) =>
    line.includes("openbox-watchdog") && line.includes(cgroups) &&
    Number(line.trim().split(/\s+/)[1]) === parent
  );
  return line === undefined ? undefined : Number(line.trim().split(/\s+/)[0]);
}

interface Watched extends AsyncDisposable {
  readonly process: Deno.ChildProcess;
  readonly dir: string;
  readonly temporary: string;
  /** Of the runs that go on. */
  readonly pids: readonly number[];
  /** Of the job that an ended run left. */
  readonly background: number;
  readonly cgroups: string;
}

async function startWatched(mode: "cgroups" | "no cgroups"): Promise<Watched> {
  const dir = await Deno.makeTempDir(), temporary = `${dir}/tmp`;
  await Deno.mkdir(temporary);
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", fixture, dir, mode],
    env: { TMPDIR: temporary, DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "null",
  }).spawn();
  await eventually("the process is ready", () => exists(`${dir}/cgroups`), 20_000);
  const pids = await pidsIn(`${dir}/pids`, mode === "cgroups" ? 5 : 3);
  const [background] = await pidsIn(`${dir}/background`, 1);
  return {
    process,
    dir,
    temporary,
    pids,
    background: background!,
    cgroups: await Deno.readTextFile(`${dir}/cgroups`),
    async [Symbol.asyncDispose]() {
      for (const pid of [process.pid, background!, ...pids]) {
        try {
          Deno.kill(pid, "SIGKILL");
        } catch {
          // gone, as it should be
        }
      }
      await process.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

for (const mode of ["cgroups", "no cgroups"] as const) {
  const ignore = mode === "cgroups" && await openCgroups().then((found) => {
    found?.[Symbol.dispose]();
    return found === undefined;
  });
  Deno.test({
    name:
      `RUN-12: two seconds after kill -9 of the agent nothing of a run that went on is left (${mode})`,
    ignore,
    async fn() {
      await using watched = await startWatched(mode);
      const { pids, background, temporary, cgroups } = watched;
      for (const pid of pids) assert.ok(isAlive(pid));
      assert.equal([...Deno.readDirSync(temporary)].length, 1, "the long line's directory");

      watched.process.kill("SIGKILL");
      await eventually("all are gone", () => !pids.some(isAlive), 2_000);
      assert.ok(isAlive(background), "what an ended run left in the background stays");
      await eventually(
        "the directory is removed",
        () => [...Deno.readDirSync(temporary)].length === 0,
      );
      if (mode === "cgroups") {
        await eventually("only the cgroup in which something lives is left", () => {
          const left = [...Deno.readDirSync(cgroups)].filter(({ isDirectory }) => isDirectory);
          return left.length === 1;
        });
        Deno.kill(background, "SIGKILL");
        await eventually("a later agent sweeps it", async () => {
          (await openCgroups())?.[Symbol.dispose]();
          return !await exists(cgroups);
        });
      }
    },
  });
}

Deno.test("RUN-12: a watchdog that was killed itself is replaced, and knows what goes on", async () => {
  await using watched = await startWatched("no cgroups");
  const first = watchdogOf(watched.process.pid)!;
  Deno.kill(first, "SIGKILL");
  await eventually("there is another", () => {
    const pid = watchdogOf(watched.process.pid);
    return pid !== undefined && pid !== first;
  });
  watched.process.kill("SIGKILL");
  await eventually("all are gone", () => !watched.pids.some(isAlive), 2_500);
});

Deno.test("the watchdog ends with its backend, and ends nothing that was ended before", async () => {
  const dir = await Deno.makeTempDir();
  // other tests of this process have watchdogs too: this one is known by its cgroups, which give nothing
  const path = `${dir}/no-cgroups`;
  const none = { path, create: () => undefined, [Symbol.dispose]() {} };
  const backend = await openNativeBackend({ findCgroups: () => Promise.resolve(none) });
  assert.ok(watchdogOf(Deno.pid, path));
  await using process = await backend.run(
    NATIVE,
    command(`setsid sleep 300 & echo $! >${dir}/pids`),
  );
  await process.exit;
  const [pid] = await pidsIn(`${dir}/pids`, 1);
  for (const stream of [process.stdout, process.stderr]) for await (const _ of stream);
  await process[Symbol.asyncDispose]();
  await backend[Symbol.asyncDispose]();
  assert.equal(watchdogOf(Deno.pid, path), undefined);
  assert.ok(isAlive(pid!));
  Deno.kill(pid!, "SIGKILL");
  await Deno.remove(dir, { recursive: true });
});
