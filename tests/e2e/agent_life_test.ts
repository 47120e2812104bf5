/** The agent as a process: how it ends, how it starts again, and what it bears. */
import assert from "node:assert/strict";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { openboxCommand } from "../fixtures/openbox.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";

/** Starts an agent in a home that has one; resolves when it has ended, unless it serves. */
function agentIn(home: string, fleet: Fleet, env: Record<string, string> = {}) {
  return openboxCommand(["agent"], {
    env: { ...fleet.env, OPENBOX_AGENT_ADDR: "127.0.0.1:0", ...env, OPENBOX_HOME: home },
  });
}

const answers = (fleet: Fleet, name: string) => async () =>
  (await fleet.call(["-n", name, "echo", "there"])).out === "there\n";

/** Of the status file; undefined where Linux is not. */
async function residentKiB(pid: number): Promise<number | undefined> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
  return kib === undefined ? undefined : Number(kib);
}

Deno.test("an agent's life", async (t) => {
  await using fleet = await startFleet({ agents: [] });

  await step(t, "at rest it takes at most 100 MB", async () => {
    await using agent = await fleet.addAgent({ name: "rest" });
    const kib = await residentKiB(agent.pid);
    assert.ok(kib === undefined || kib < 100 * 1024, `${kib} KiB`);
  });

  await step(
    t,
    "RUN-12: kill -9 ends its runs within 2 s, and started again it is the same node",
    async () => {
      const pids = `${fleet.scratch}/pids`;
      let home: string, nodeId: string;
      {
        await using agent = await fleet.addAgent({ name: "killed" });
        [home, nodeId] = [agent.home, agent.nodeId];
        const line = `trap '' TERM HUP; echo $$ >>${pids}; sleep 300 & echo $! >>${pids}; wait`;
        const run = fleet.spawn(["-n", "killed", line]);
        const started = await pidsIn(pids, 2);
        agent.kill("SIGKILL");
        await eventually("its runs are gone", () => !started.some(isAlive), 2_000);
        const { code, stderr } = await run.output();
        await run.stdin.close();
        assert.equal(code, 255);
        assert.match(new TextDecoder().decode(stderr), /lost/);
      }
      await using again = agentIn(home, fleet).spawn();
      await eventually("it serves", answers(fleet, nodeId), 20_000);
      again.kill("SIGTERM");
      const { code, stdout } = await again.output();
      assert.equal(code, 0);
      assert.match(
        new TextDecoder().decode(stdout),
        new RegExp(`agent, node killed \\(${nodeId}\\)`),
      );
    },
  );

  await step(
    t,
    "SIGTERM ends it within 3 s, with what runs, which its caller is told",
    async () => {
      const pids = `${fleet.scratch}/ending`;
      await using agent = await fleet.addAgent({ name: "ending" });
      const line = `trap '' TERM; echo $$ >${pids}; echo before; while :; do sleep 1; done`;
      const run = fleet.spawn(["-n", "ending", "--json", line]);
      const [pid] = await pidsIn(pids, 1);
      const startedAt = performance.now();
      agent.kill("SIGTERM");
      assert.equal((await agent.ended).code, 0);
      assert.ok(performance.now() - startedAt < 3_000, `${performance.now() - startedAt} ms`);
      assert.ok(!isAlive(pid!));
      const { code, stdout } = await run.output();
      await run.stdin.close();
      const last = JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
      assert.deepEqual([code, last.outcome, last.signal], [137, "signal", "KILL"]);
    },
  );

  await step(
    t,
    "ENR-7: removed while it was away it says so, each time, and takes another token",
    async () => {
      let home: string, nodeId: string;
      {
        await using agent = await fleet.addAgent({ name: "removed" });
        [home, nodeId] = [agent.home, agent.nodeId];
      }
      assert.equal((await fleet.call(["node", "rm", nodeId])).code, 0);
      for (let start = 0; start < 2; start++) {
        const { code, stderr } = await agentIn(home, fleet).output();
        assert.equal(code, 3);
        assert.match(
          new TextDecoder().decode(stderr),
          /openbox: node_deleted: .*\n {2}hint: openbox node token/,
        );
      }
      const { token } = JSON.parse((await fleet.call(["node", "token", "--json"])).out);
      const env = { OPENBOX_SERVER: fleet.url, OPENBOX_ENROLL_TOKEN: token, OPENBOX_NAME: "anew" };
      await using again = agentIn(home, fleet, env).spawn();
      await eventually("it serves", answers(fleet, "anew"), 20_000);
      again.kill("SIGTERM");
      await again.output();
    },
  );

  await step(
    t,
    "SSH-12, RES-3: with few descriptors it sheds, lives, and serves again",
    async () => {
      await using agent = await fleet.addAgent({
        name: "narrow",
        wrapper: ["/bin/sh", "-c", 'ulimit -n 128; exec "$0" "$@"'],
        env: { DENO_NO_UPDATE_CHECK: "1" },
      });
      const { nodes } = JSON.parse((await fleet.call(["nodes", "--json"])).out);
      const { addr } = nodes.find(({ id }: { id: string }) => id === agent.nodeId);
      const [hostname, port] = addr.split(":");
      const conns = await Promise.all(
        Array.from({ length: 200 }, () => Deno.connect({ hostname, port: Number(port) })),
      );
      // silent ones would make room for each other; those that have spoken wait in line
      for (const conn of conns) await conn.write(new TextEncoder().encode("SSH-2.0-slow\r\n"));
      await eventually(
        "it is out of descriptors",
        () => agent.log().includes("could not be accepted"),
        20_000,
      );
      for (const conn of conns) conn.close();
      await eventually("it serves again", answers(fleet, "narrow"), 20_000);
      const complaints = agent.log().split("could not be accepted").length - 1;
      assert.ok(complaints <= 5, `${complaints} lines`);
    },
  );

  await step(
    t,
    "EXE-6: nothing of the agent's environment or secrets reaches a command",
    async () => {
      await using _ = await fleet.addAgent({ name: "quiet", env: { SECRET_OF_AGENT: "s3cret" } });
      const { out } = await fleet.call([
        "-n",
        "quiet",
        "env; cat /proc/$$/environ | tr '\\0' '\\n'",
      ]);
      const names = out.split("\n").filter(Boolean).map((line) => line.split("=")[0]!);
      const allowed = "HOME USER LOGNAME SHELL PATH LANG OPENBOX_NODE PWD OLDPWD SHLVL _".split(
        " ",
      );
      assert.deepEqual([...new Set(names)].filter((name) => !allowed.includes(name)), []);
      assert.doesNotMatch(out, /s3cret|enroll_|obn_/);
    },
  );
});
