import assert from "node:assert/strict";
import { readPlaces } from "../../../src/isolation/cgroup_files.ts";
import { stepAside } from "../../../src/isolation/cgroup_limits.ts";
import { requireComponent } from "../../fixtures/component.ts";

Deno.test("groups are made below the agent's own, and not below where it stepped aside to", () => {
  const [v1, v2, aside] = readPlaces(
    "5:cpu,cpuacct:/a/b\n0::/system.slice/openbox.service\n0::/x.service/openbox.agent\nnonsense\n0::/a b\n",
  );
  assert.deepEqual(v1, {
    controllers: ["cpu", "cpuacct"],
    directories: ["/sys/fs/cgroup/cpu/a/b", "/sys/fs/cgroup/cpu"],
  });
  assert.deepEqual(v2!.controllers, []);
  assert.equal(v2!.directories[0], "/sys/fs/cgroup/system.slice/openbox.service");
  assert.equal(aside!.directories[0], "/sys/fs/cgroup/x.service");
});

/** Where v2 is: beside v1, or alone. */
const root = await Deno.stat("/sys/fs/cgroup/cgroup.procs").then(
  () => "/sys/fs/cgroup",
  () => "/sys/fs/cgroup/unified",
);

Deno.test(
  "ISO-7: in v2 our processes make room where a group is to hand a controller down",
  requireComponent("linux-root"),
  async () => {
    const group = `${root}/openbox-test-${crypto.randomUUID()}`;
    const made = await Deno.mkdir(group).then(() => true, () => false);
    if (!made) return; // no v2 here
    await using stack = new AsyncDisposableStack();
    stack.defer(async () => {
      for (const path of [`${group}/openbox.agent`, group]) await Deno.remove(path).catch(() => {});
    });
    const read = (file: string) => Deno.readTextFile(`${group}/${file}`);
    const enter = (pid: number) =>
      Deno.writeTextFile(`${group}/cgroup.procs`, String(pid), { create: false });
    const [controller] = (await read("cgroup.controllers")).trim().split(" ");
    const handDown = () =>
      Deno.writeTextFile(`${group}/cgroup.subtree_control`, `+${controller}`, { create: false });

    assert.equal(stepAside(group), false, "nobody is in the way");
    await using ours = new Deno.Command("sleep", { args: ["300"] }).spawn();
    await enter(ours.pid);
    if (controller) await assert.rejects(handDown(), /busy/);
    assert.equal(stepAside(group), true);
    assert.equal(await read("cgroup.procs"), "");
    assert.equal(await read("openbox.agent/cgroup.procs"), `${ours.pid}\n`);
    if (controller) await handDown();
  },
);

Deno.test(
  "ISO-7: in v2 the processes of others stay where they are",
  requireComponent("linux-root"),
  () => {
    assert.equal(stepAside(root), false);
  },
);
