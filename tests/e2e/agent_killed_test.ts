/** ISO-6: what an agent that is killed leaves of everything that ran on it at once. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { sharedHost } from "../fixtures/docker_host.ts";
import { containersOf, makeImage } from "../fixtures/dockerd.ts";
import { startFleet } from "../fixtures/fleet.ts";
import { makeTree } from "../fixtures/nspawn_tree.ts";
import { eventually, processesOf } from "../fixtures/processes.ts";

Deno.test(
  "ISO-6: five seconds after kill -9 nothing of 20 runs in docker, in a tree and on the machine is left",
  {
    ...requireComponent("docker-engine", "systemd-nspawn", "busybox", "linux-root"),
  },
  async () => {
    const host = sharedHost()!;
    const [image, tree] = await Promise.all([makeImage(host, "openbox-killed"), makeTree()]);
    await using _tree = tree;
    const settings = '[nspawn]\ntrees = ["/tmp"]\n';
    await using fleet = await startFleet({
      agents: [{ name: "box", env: { DOCKER_HOST: host }, settings }],
    });
    const [box] = fleet.agents;
    // a number that nobody else sleeps for
    const sleep = `sleep 86${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const places = [[], ["--docker", image], ["--nspawn", tree.root, "--volatile"]];
    const runs = Array.from({ length: 20 }, (_, i) => {
      const args = ["-n", "box", ...places[i % places.length]!, `trap '' TERM HUP; ${sleep}; :`];
      return fleet.spawn(args, { stdin: "null" }).output();
    });
    await eventually(
      "all of them run",
      async () => (await processesOf(sleep)).length === 20,
      60_000,
    );
    assert.equal((await containersOf(host, box!.nodeId)).length, 7);
    box!.kill("SIGKILL");
    await eventually("no process is left", async () => (await processesOf(sleep)).length === 0);
    await eventually("no container is left", async () => {
      return (await containersOf(host, box!.nodeId)).length === 0;
    });
    for (const { code } of await Promise.all(runs)) assert.equal(code, 255);
  },
);
