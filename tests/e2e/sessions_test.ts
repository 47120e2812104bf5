import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { openboxCommand } from "../fixtures/openbox.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";

/** What `--json` says last. */
const lastLine = (out: string) => JSON.parse(out.trim().split("\n").at(-1)!);

async function sessionRow(fleet: Fleet, name: string) {
  const { sessions } = JSON.parse((await fleet.call(["sessions", "--json"])).out);
  return sessions.find((one: { session_id: string }) => one.session_id === name);
}

Deno.test("sessions, end to end", requireComponent("mkfifo", "ps"), async (t) => {
  await using fleet = await startFleet({
    agents: [{ name: "box", tags: ["box"] }, { name: "two", tags: ["two"] }],
  });
  const [box] = fleet.agents;
  const call = (...args: string[]) => fleet.call(args);

  await step(t, "SEQ-1, SEQ-2: one shell on one node, wherever the tag leads", async () => {
    assert.deepEqual(await call("-t", "box", "-s", "build", "cd", "/usr").then(told), [0, "", ""]);
    await call("-s", "build", "-e", "X=a  b", "export Y=1; f() { echo f $X; }");
    assert.deepEqual(
      await call("-t", "box", "-s", "build", "pwd; f; echo $Y $OPENBOX_SESSION").then(told),
      [0, "/usr\nf a b\n1 build\n", ""],
    );
    const { session, node_id } = lastLine((await call("-s", "build", "--json", "true")).out);
    assert.deepEqual([session, node_id], [{ created: false, ended: false }, box!.nodeId]);
  });

  await step(t, "SES-8, SEQ-15: another place or isolation is refused, nothing runs", async () => {
    for (const target of [["-n", "two"], ["-t", "two"]]) {
      const { code, err } = await call(...target, "-s", "build", "touch", `${fleet.scratch}/ran`);
      assert.equal(code, 255);
      assert.match(err, /session_bound_elsewhere: not started: .* lives on the node box/);
    }
    const { code, err } = await call("-s", "build", "--docker", "debian", "true");
    assert.equal(code, 255);
    assert.match(err, /session_isolation_mismatch: not started/);
    await assert.rejects(Deno.stat(`${fleet.scratch}/ran`));
  });

  await step(t, "SEQ-4, SEQ-5: input is the command's own, and ends", async () => {
    const piped = await fleet.call(["-s", "build", "wc", "-c"], { stdin: "12345" });
    assert.equal(piped.out.trim(), "5");
    assert.equal((await call("-s", "build", "cat")).code, 0);
    assert.notEqual((await call("-s", "build", "echo 'open")).code, 0);
    assert.equal((await call("-s", "build", "pwd")).out, "/usr\n");
  });

  await step(t, "SEQ-9: --timeout ends the command, the state is kept", async () => {
    const { code, err } = await call("-s", "build", "--timeout", "300ms", "sleep 300; echo AFTER");
    assert.equal(code, 124);
    assert.match(err, /ended after .*, by --timeout/);
    assert.deepEqual(await call("-s", "build", "pwd").then(told), [0, "/usr\n", ""]);
  });

  await step(
    t,
    "SES-16, SES-5, SEQ-10: Ctrl-C, and a client that is killed, end the command alone",
    async () => {
      for (const [i, [signal, code]] of ([["SIGINT", 130], ["SIGKILL", 137]] as const).entries()) {
        const file = `${fleet.scratch}/pids${i}`;
        const client = fleet.spawn(["-s", "build", `echo $$ >>${file}; sleep 301; echo AFTER`]);
        await pidsIn(file, 1);
        client.kill(signal);
        const { code: ended, stdout } = await client.output();
        await client.stdin.close().catch(() => {}); // nobody reads it any more
        assert.equal(ended, code);
        assert.equal(stdout.length, 0);
        assert.deepEqual(await call("-s", "build", "pwd").then(told), [0, "/usr\n", ""]);
      }
      const { stdout } = new Deno.Command("/bin/ps", { args: ["-A", "-o", "args="] }).outputSync();
      assert.doesNotMatch(new TextDecoder().decode(stdout), /^sleep 301$/m);
    },
  );

  await step(t, "SEQ-3: what is sent at once runs one after another", async () => {
    const all = Array.from(
      { length: 5 },
      () => call("-s", "build", "n=$((n+1)); sleep 0.05; echo $n"),
    );
    const numbers = (await Promise.all(all)).map(({ out }) => Number(out));
    assert.deepEqual(numbers.sort(), [1, 2, 3, 4, 5]);
  });

  await step(t, "SEQ-12: the list knows the node, the isolation and the last exit", async () => {
    await call("-s", "build", "(exit 3)");
    await eventually(
      "the node has told",
      async () => (await sessionRow(fleet, "build")).last_exit === 3,
    );
    const row = await sessionRow(fleet, "build");
    assert.deepEqual([row.node_name, row.isolation, row.state], ["box", "native", "idle"]);
    assert.match(
      (await call("sessions")).out,
      /^NAME +NODE +ISOLATION +STATE +IDLE +EXIT\nbuild +box +native +idle +\d+s +3\n$/,
    );
  });

  await step(t, "SEQ-6, SES-2: an end of the shell is said, and so is the new one", async () => {
    const ended = await call("-s", "build", "exit 3");
    assert.equal(ended.code, 3);
    assert.match(
      ended.err,
      /^openbox: the session build ended with code 3; the next call starts it anew\n$/,
    );
    const next = await call("-s", "build", 'pwd; echo "<$Y>"');
    assert.match(next.out, /\n<>\n$/);
    assert.match(next.err, /^openbox: the session build was started anew/);
    const killed = lastLine((await call("-s", "build", "--json", "kill -9 $$")).out);
    assert.deepEqual([killed.code, killed.session.ended], [137, true]);
  });

  await step(
    t,
    "SEQ-12, SES-17: session end takes the tree with it, and the name is free",
    async () => {
      const file = `${fleet.scratch}/tree`;
      const running = fleet.spawn([
        "-s",
        "build",
        `setsid sleep 302 & echo $! >>${file}; sleep 303`,
      ]);
      const [pid] = await pidsIn(file, 1);
      assert.deepEqual(await call("session", "end", "build").then(told), [
        0,
        "ended build on box\n",
        "",
      ]);
      await eventually("the tree is gone", () => !isAlive(pid!));
      assert.equal((await running.output()).code, 137);
      await running.stdin.close().catch(() => {});
      assert.equal(await sessionRow(fleet, "build"), undefined);
      const fresh = lastLine((await call("-t", "two", "-s", "build", "--json", "true")).out);
      assert.deepEqual(fresh.session, { created: true, ended: false });
      assert.equal((await call("session", "end", "nobody")).code, 4);
    },
  );

  await step(
    t,
    "SES-17: a DELETE alone ends the shell with the node's next heartbeat",
    async () => {
      const file = `${fleet.scratch}/deleted`;
      await call("-t", "box", "-s", "gone", `sleep 304 & echo $! >>${file}`);
      const [pid] = await pidsIn(file, 1);
      await eventually(
        "the node has told",
        async () => (await sessionRow(fleet, "gone")).state === "idle",
      );
      const reply = await fetch(`${fleet.url}/v1/sessions/gone`, {
        method: "DELETE",
        headers: { authorization: `Bearer ${fleet.token}` },
      });
      assert.equal(reply.status, 204);
      await call("-n", "box", "-s", "other", "true"); // a change makes it beat soon
      await eventually("the shell is gone", () => !isAlive(pid!), 40_000);
      await call("session", "end", "other");
    },
  );

  await step(
    t,
    "SEQ-14, SES-10: an agent that was killed loses its sessions, which the next call is told",
    async () => {
      const file = `${fleet.scratch}/lost`;
      await call("-n", "box", "-s", "work", `cd /usr; sleep 305 & echo $! >>${file}`);
      const [pid] = await pidsIn(file, 1);
      box!.kill("SIGKILL");
      await box!.ended;
      await eventually("nothing of it is left", () => !isAlive(pid!));
      const agent = openboxCommand(["agent"], {
        env: { ...fleet.env, OPENBOX_HOME: box!.home, OPENBOX_AGENT_ADDR: "127.0.0.1:0" },
        stdout: "null",
        stderr: "null",
      }).spawn();
      try {
        const first = await eventually("the node is back", async () => {
          const done = await call("-s", "work", "--json", "pwd");
          return lastLine(done.out).error?.code === "node_unreachable" ? undefined : done;
        }, 20_000);
        const { outcome, code, error } = lastLine(first.out);
        assert.deepEqual([outcome, code, error.code, first.code], ["lost", 255, "lost", 255]);
        assert.match(
          first.err,
          /^openbox: lost: The session work is lost: the agent was started anew\n/,
        );
        const second = await call("-s", "work", "pwd");
        assert.equal(second.code, 0);
        assert.match(second.err, /started anew/);
      } finally {
        agent.kill("SIGTERM");
        await agent.status;
      }
    },
  );
});

const told = ({ code, out, err }: { code: number; out: string; err: string }) => [code, out, err];
