/** A reader that is slow stops the writer, and nothing piles up between them: docs/fidelity.md RUN-14, security EXE-15. */
import assert from "node:assert/strict";
import { concat } from "../../src/bytes.ts";
import { startFleet, step } from "../fixtures/fleet.ts";
import { isAlive, pidsIn } from "../fixtures/processes.ts";

const MIB = 1024 * 1024;

/** Resident memory of its own, in bytes: pages of the program's file are shared, and come in as code is first used. */
async function memory(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^RssAnon:\s+(\d+)/m.exec(status)![1]) * 1024;
}

/** Bytes that a process has written so far. */
async function written(pid: number): Promise<number> {
  return Number(/^wchar: (\d+)/m.exec(await Deno.readTextFile(`/proc/${pid}/io`))![1]);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test({
  name: "flow of a run's output",
  ignore: Deno.build.os !== "linux", // reads /proc
  async fn(t) {
    await using fleet = await startFleet();
    const agent = fleet.agents[0]!.pid;
    // what a first stream makes V8 keep is no growth of the second
    await fleet.call(["-t", "box", "head -c 200000000 /dev/zero"]);

    for (const stream of ["stdout", "stderr"] as const) {
      await step(
        t,
        `RUN-14, EXE-15: 1 GiB of ${stream} to a reader at 10 KB/s: the writer is blocked, memory stays`,
        async () => {
          const pids = `${fleet.scratch}/${stream}`;
          const to = stream === "stderr" ? " >&2" : "";
          const before = await memory(agent);
          const child = fleet.spawn([
            "-t",
            "box",
            `echo $$ > ${pids}; sleep 1; exec head -c 1073741824 /dev/zero${to}`,
          ], { stdin: "null" });
          const [pid] = await pidsIn(pids, 1);
          const idle = await memory(child.pid);
          const reader = child[stream].getReader({ mode: "byob" });
          for (let second = 0; second < 5; second++) {
            await reader.read(new Uint8Array(10_000));
            await pause(1000);
          }
          assert(isAlive(pid!), "the writer waits");
          assert(await written(pid!) < 64 * MIB, `the writer wrote ${await written(pid!)} bytes`);
          const cli = await memory(child.pid) - idle, node = await memory(agent) - before;
          assert(cli <= 16 * MIB, `the CLI grew by ${cli / MIB} MiB`);
          assert(node <= 16 * MIB, `the agent grew by ${node / MIB} MiB`);
          child.kill("SIGKILL");
          await reader.cancel().catch(() => {});
          reader.releaseLock();
          await Promise.all([child.stdout, child.stderr].map((stream) => stream.cancel()));
          await child.status;
        },
      );
    }

    await step(t, "EXE-15: input to a command that does not read waits here", async () => {
      const pids = `${fleet.scratch}/input`;
      const child = fleet.spawn(["-t", "box", `echo $$ > ${pids}; exec sleep 300`]);
      await pidsIn(pids, 1);
      const idle = await memory(child.pid), before = await memory(agent);
      const writer = child.stdin.getWriter();
      let sent = 0;
      const feeding = (async () => {
        for (const chunk = new Uint8Array(MIB);; sent += MIB) await writer.write(chunk);
      })().catch(() => {});
      await pause(3000);
      assert(sent < 64 * MIB, `${sent / MIB} MiB were taken`);
      const cli = await memory(child.pid) - idle, node = await memory(agent) - before;
      assert(cli <= 16 * MIB, `the CLI grew by ${cli / MIB} MiB`);
      assert(node <= 16 * MIB, `the agent grew by ${node / MIB} MiB`);
      child.kill("SIGKILL");
      await feeding;
      await child.output();
    });

    await step(t, "EXE-2: 1 GiB goes through both ways and is the same", async () => {
      // a megabyte of noise over and over, each with its number: nothing can be lost, doubled or moved unseen
      const noise = `${fleet.scratch}/noise`;
      await Deno.writeFile(
        noise,
        concat(Array.from({ length: 16 }, () => crypto.getRandomValues(new Uint8Array(65_536)))),
      );
      const source =
        `i=0; while [ $i -lt 1024 ]; do printf '%08d\\n' $i; cat ${noise}; i=$((i+1)); done`;
      const { out } = await fleet.shell(
        `{ ${source}; } | openbox -t box cat | sha256sum; { ${source}; } | sha256sum`,
      );
      const [through, here] = out.trim().split("\n");
      assert.match(here ?? "", /^[0-9a-f]{64} /);
      assert.equal(through, here);
    });
  },
});
