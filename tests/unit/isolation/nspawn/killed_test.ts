import assert from "node:assert/strict";
import { openNspawnBackend } from "../../../../src/isolation/nspawn/backend.ts";
import { command, finish } from "../../../contract/isolation.ts";
import { requireComponent } from "../../../fixtures/component.ts";
import { makeTree } from "../../../fixtures/nspawn_tree.ts";
import { eventually, processesOf } from "../../../fixtures/processes.ts";

const fixture = new URL("watched_process.ts", import.meta.url).pathname;

Deno.test(
  "ISO-6, KIL: five seconds after kill -9 of the agent nothing of 20 containers and a session is left",
  requireComponent("systemd-nspawn", "busybox", "linux-root"),
  async () => {
    await using runs = await makeTree();
    await using session = await makeTree();
    const seconds = "7309";
    await using process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", fixture, runs.root, session.root, seconds],
      stdin: "null",
    }).spawn();
    await eventually(
      "all are there",
      async () => (await processesOf(`sleep ${seconds}`)).length === 42,
      30_000,
    );
    const directories = await directoriesOf(runs.root, session.root);
    assert.equal(directories.length, 21);

    process.kill("SIGKILL");
    const killedAt = performance.now();
    await process.status;
    await eventually("their processes are gone", async () => {
      const left = await processesOf(`sleep ${seconds}`);
      return left.length === 0 && (await directoriesOf(runs.root, session.root)).length === 0;
    });
    await eventually("and what they made", () => !directories.some(exists));
    assert.ok(performance.now() - killedAt < 5_000, `${performance.now() - killedAt} ms`);
    for (const { root } of [runs, session]) {
      const mounts = await Deno.readTextFile("/proc/self/mountinfo");
      assert.equal(mounts.includes(root), false);
    }

    await using backend = openNspawnBackend(); // the agent, started anew
    for (const { root } of [runs, session]) {
      await using again = await backend.run({ kind: "nspawn", root }, command("echo again"));
      assert.equal((await finish(again)).out, "again\n");
    }
  },
);

/** Of the containers of these trees. */
async function directoriesOf(...roots: string[]): Promise<string[]> {
  const { stdout } = await new Deno.Command("/bin/ps", { args: ["-ww", "-A", "-o", "args="] })
    .output();
  return new TextDecoder().decode(stdout).split("\n").flatMap((line) =>
    line.startsWith("systemd-nspawn ") && roots.some((root) => line.includes(root))
      ? / --bind-ro=(\S+)/.exec(line)![1]!
      : []
  );
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
