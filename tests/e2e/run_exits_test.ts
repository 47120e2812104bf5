/** How a run ends, and what it leaves: docs/fidelity.md RUN-5, RUN-7, RUN-12, RUN-13, RUN-16. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { type Done, startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";

/** The last line of `--json`. */
// deno-lint-ignore no-explicit-any
const lastLine = ({ out }: Done): any => JSON.parse(out.trim().split("\n").at(-1)!);

Deno.test("the end of a run", async (t) => {
  await using fleet = await startFleet();
  const at = (...args: string[]) => ["-t", "box", ...args];

  await step(
    t,
    "RUN-5: exit codes pass through, deaths by signal are 128 and its number",
    async () => {
      const codes = [0, 1, 2, 77, 126, 127, 254, 255];
      const signals = [["TERM", 143], ["KILL", 137], ["SEGV", 139], ["35", 163]] as const;
      for (const code of codes) {
        const { code: got, err } = await fleet.call(at(`exit ${code}`));
        assert.deepEqual([got, err], [code, ""]);
      }
      for (const [signal, code] of signals) {
        const { code: got, err } = await fleet.call(at(`kill -${signal} $$`));
        assert.deepEqual([got, err], [code, ""], signal);
      }
    },
  );

  await step(
    t,
    "RUN-5: --json tells an exit from a signal, and openbox's own 255 from the command's",
    async () => {
      const node_id = fleet.agents[0]!.nodeId;
      const exited = lastLine(await fleet.call(at("--json", "exit 143")));
      const { run_id } = exited;
      assert.match(run_id, /^run_[0-9a-f]{16}$/);
      assert.deepEqual(exited, {
        stream: "exit",
        outcome: "exit",
        code: 143,
        signal: null,
        error: null,
        run_id,
        node_id,
        session: null,
      });
      const killed = lastLine(await fleet.call(at("--json", "kill -TERM $$")));
      assert.deepEqual([killed.outcome, killed.code, killed.signal], ["signal", 143, "TERM"]);
      const theirs = lastLine(await fleet.call(at("--json", "exit 255")));
      assert.deepEqual([theirs.outcome, theirs.code, theirs.error], ["exit", 255, null]);
      const ours = await fleet.call(["-t", "nowhere", "--json", "exit 255"]);
      const last = lastLine(ours);
      assert.deepEqual([ours.code, last.outcome, last.error.code], [
        255,
        "not_started",
        "node_not_found",
      ]);
      assert.match(ours.err, /^openbox: node_not_found: not started: /);
    },
  );

  await step(
    t,
    "--json gives both streams as lines, with characters whole and other bytes as base64",
    async () => {
      const done = await fleet.call(
        at("--json", "printf 'a€'; sleep 0.1; printf '\\377\\376' >&2"),
      );
      const events = done.out.trim().split("\n").map((line) => JSON.parse(line)).slice(0, -1);
      assert.deepEqual(events[0], { stream: "stdout", data: "a€" });
      const err = events.slice(1);
      assert(err.every(({ stream, encoding }) => stream === "stderr" && encoding === "base64"));
      const bytes = err.flatMap(({ data }) => [...Uint8Array.fromBase64(data)]);
      assert.deepEqual(bytes, [0o377, 0o376]);
      assert.equal(done.err, "");
    },
  );

  await step(
    t,
    "RUN-7: what cannot be started has the shell's code, a missing directory an error of ours",
    async () => {
      const dir = fleet.scratch;
      await Deno.writeTextFile(`${dir}/plain`, "x", { mode: 0o644 });
      await Deno.writeTextFile(`${dir}/odd`, "#!/no/such/interpreter\n", { mode: 0o755 });
      const cases: [string, number][] = [
        ["no-such-command-at-all", 127],
        [`${dir}/plain`, 126],
        [dir, 126],
        [`${dir}/odd`, 127],
      ];
      for (const [command, code] of cases) {
        assert.equal((await fleet.call(at(command, "x"))).code, code, command);
      }
      const nowhere = await fleet.call(at("-C", "/no/such/dir", "touch", `${dir}/ran`));
      assert.equal(nowhere.code, 255);
      assert.match(nowhere.err, /^openbox: bad_directory: not started: .*\/no\/such\/dir/);
      await assert.rejects(Deno.stat(`${dir}/ran`), Deno.errors.NotFound);
    },
  );

  await step(
    t,
    "RUN-12: what a command leaves in the background does not hold it, and lives on",
    async () => {
      const pids = `${fleet.scratch}/left`;
      const commands = [
        `sleep 300 & echo $! >> ${pids}; echo hi`,
        `nohup sleep 300 > /dev/null 2>&1 & echo $! >> ${pids}; echo hi`,
        `setsid sleep 300 & echo $! >> ${pids}; echo hi`,
      ];
      for (const command of commands) {
        const from = Date.now();
        const { code, out } = await fleet.call(at(command));
        assert.deepEqual([code, out], [0, "hi\n"]);
        assert(Date.now() - from < 3000, command);
      }
      const left = await pidsIn(pids, 3);
      for (const pid of left) assert(isAlive(pid));
      for (const pid of left) Deno.kill(pid, "SIGKILL");
    },
  );

  await step(
    t,
    "RUN-13, EXE-14: --timeout ends a tree that ignores TERM with 124, its output kept",
    async () => {
      const pids = `${fleet.scratch}/stubborn`;
      const script = `trap '' TERM; (trap '' TERM; echo $$ >> ${pids}; while :; do sleep 1; done) &
      echo $! >> ${pids}; echo so far; while :; do sleep 1; done`;
      const from = Date.now();
      const { code, out, err } = await fleet.call(at("--timeout", "1s", script));
      const took = Date.now() - from;
      assert.deepEqual([code, out], [124, "so far\n"]);
      assert.match(err, /^openbox: ended after 1s, by --timeout/);
      assert(took > 1000 && took < 5000, `${took} ms`);
      for (const pid of await pidsIn(pids, 2)) {
        await eventually(`${pid} is gone`, () => !isAlive(pid), 1000);
      }
      const told = lastLine(await fleet.call(at("--json", "--timeout", "200ms", "sleep 60")));
      assert.deepEqual([told.outcome, told.code], ["timeout", 124]);
    },
  );
});

Deno.test({
  name: "RUN-12: what left the group of a run that is cancelled ends with it",
  ...requireComponent("linux-root", "setsid"), // elsewhere there is no cgroup to find it by
  async fn() {
    await using fleet = await startFleet();
    const pids = `${fleet.scratch}/away`;
    const script = `setsid sleep 300 & echo $! > ${pids}; setsid setsid sleep 300 & wait`;
    const { code } = await fleet.call(["-t", "box", "--timeout", "1s", script]);
    assert.equal(code, 124);
    const [pid] = await pidsIn(pids, 1);
    await eventually("what called setsid is gone", () => !isAlive(pid!), 2000);
  },
});

Deno.test("RUN-16: 50 runs at once, each with its own input and 1 MiB out: nothing crosses", async () => {
  await using fleet = await startFleet();
  const length = 1024 * 1024;
  const runs = Array.from({ length: 50 }, async (_, i) => {
    const word = `${i}`.padStart(7, "0") + "\n";
    const done = await fleet.call(["-t", "box", `cat; echo err ${i} >&2; exit ${i}`], {
      stdin: word.repeat(length / word.length),
    });
    assert.equal(done.code, i, done.err);
    assert.equal(done.err, `err ${i}\n`);
    assert(done.out === word.repeat(length / word.length), `run ${i}: ${done.out.length} bytes`);
  });
  await Promise.all(runs);
});
