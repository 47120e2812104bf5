/** A node that has run out of something: it says so, runs what it still can, and serves again once there is some. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { startFleet, step } from "../fixtures/fleet.ts";
import { eventually } from "../fixtures/processes.ts";

Deno.test("a node without room", requireComponent("linux-root", "unshare"), async (t) => {
  await using fleet = await startFleet({ agents: [] });
  // a disk of its own for all that the agent writes: its home and its temporary files
  const disk = `${fleet.scratch}/disk`;
  await Deno.mkdir(disk);
  const mounting = 'mount -t tmpfs -o size=4m openbox-test "$0" && exec "$@"';
  await using agent = await fleet.addAgent({
    name: "full",
    env: { TMPDIR: disk },
    home: `${disk}/home`,
    wrapper: ["unshare", "--mount", "sh", "-c", mounting, disk],
  });
  const long = ["true", "x".repeat(100_000), "x".repeat(100_000)]; // longer than one argument may be
  const call = (...args: string[]) => fleet.call(["-n", "full", ...args]);
  assert.equal((await call(...long)).code, 0);
  const filled = await call(`head -c 9000000 /dev/zero >${disk}/zeros`);
  assert.match(filled.err, /No space left on device/);

  await step(t, "RES-2: what needs no room runs, what needs some is refused", async () => {
    assert.deepEqual((await call("echo here")).out, "here\n");
    for (const words of [long, ["-s", "work", "true"]]) {
      const { code, err } = await call(...words);
      assert.equal(code, 255, err);
      assert.match(err, /^openbox: \w+: not started: .*(space|full)/is);
    }
    assert.doesNotMatch(agent.log(), /Uncaught|error:/);
  });

  await step(t, "RES-2: `rm` by openbox makes room, and all of it runs again", async () => {
    assert.equal((await call("rm", `${disk}/zeros`)).code, 0);
    assert.equal((await call(...long)).code, 0);
    await eventually("a session starts", async () => (await call("-s", "work", "true")).code === 0);
  });
});

const PIDS = "/sys/fs/cgroup/pids";
const hasPids = () => {
  try {
    return Deno.statSync(`${PIDS}/cgroup.procs`).isFile;
  } catch {
    return false;
  }
};

Deno.test("RES-9: out of processes a run is not started, and the agent lives on", {
  ignore: requireComponent("linux-root").ignore || !hasPids(),
}, async () => {
  await using fleet = await startFleet();
  const [agent] = fleet.agents;
  const group = `${PIDS}/openbox-test-${agent!.pid}`;
  await using stack = new AsyncDisposableStack();
  await Deno.mkdir(group);
  const remove = () => Deno.remove(group).then(() => true, () => false); // not while somebody is in it
  stack.defer(async () => void await eventually("the group is gone", remove));
  stack.use(agent!);
  await Deno.writeTextFile(`${group}/cgroup.procs`, `${agent!.pid}`);
  const limit = (most: string) => Deno.writeTextFile(`${group}/pids.max`, most);
  assert.equal((await fleet.call(["-t", "box", "true"])).code, 0);
  await limit("1"); // below what it has: it keeps that, and gets no more
  for (const words of [["true"], ["-s", "work", "true"]]) {
    const { code, err } = await fleet.call(["-t", "box", ...words]);
    assert.equal(code, 255, err);
    assert.match(err, /^openbox: unavailable: not started: Cannot start .*temporarily unavailable/);
  }
  await limit("max");
  assert.equal((await fleet.call(["-t", "box", "-s", "work", "echo", "again"])).out, "again\n");
});
