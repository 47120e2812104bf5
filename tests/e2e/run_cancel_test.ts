/** A run that somebody ends, or that loses its caller: docs/fidelity.md RUN-10, RUN-11, security EXE-5. */
import assert from "node:assert/strict";
import { text } from "../../src/bytes.ts";
import { requireComponent } from "../fixtures/component.ts";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";
import { openTerminal } from "../fixtures/terminal.ts";

/** Two processes that note their numbers and go on until they are ended. `trap` is what they do with signals. */
const tree = (pids: string, trap = ""): string =>
  `${trap} echo $$ >> ${pids}; while :; do sleep 0.2; done & echo $! >> ${pids}
   echo ready; while :; do sleep 0.2; done`;

/** Starts a command, and waits until it has printed `ready`. */
async function begin(fleet: Fleet, command: string, ...flags: string[]) {
  const child = fleet.spawn(["-t", "box", ...flags, command], { stdin: "null" });
  let out = "";
  const read = (async () => {
    for await (const chunk of child.stdout) out += text(chunk);
  })();
  const err = child.stderr.pipeThrough(new TextDecoderStream());
  const errors = Array.fromAsync(err).then((parts) => parts.join(""));
  await eventually("the command runs", () => out.includes("ready"), 15_000);
  return {
    child,
    async end() {
      const status = await child.status;
      await read;
      return { code: status.code, out, err: await errors };
    },
  };
}

const allGone = async (pids: string, ms: number) => {
  for (const pid of await pidsIn(pids, 2)) {
    await eventually(`${pid} is gone from the node`, () => !isAlive(pid), ms);
  }
};

Deno.test("a run that is ended from here", async (t) => {
  await using fleet = await startFleet();

  await step(
    t,
    "RUN-10: one Ctrl-C goes to the command's group, and its exit shows it",
    async () => {
      const trapped = await begin(
        fleet,
        "trap 'exit 42' INT; echo ready; while :; do sleep 0.1; done",
      );
      trapped.child.kill("SIGINT");
      assert.deepEqual(await trapped.end(), { code: 42, out: "ready\n", err: "" });

      const pids = `${fleet.scratch}/once`;
      const plain = await begin(fleet, tree(pids));
      plain.child.kill("SIGINT");
      assert.equal((await plain.end()).code, 130);
      // a background job of a shell ignores INT; it was not the run that was ended, so it lives on
      for (const pid of await pidsIn(pids, 2)) if (isAlive(pid)) Deno.kill(pid, "SIGKILL");
    },
  );

  await step(
    t,
    "RUN-10: the second Ctrl-C kills, 130, and a second later nothing of it is there",
    async () => {
      const pids = `${fleet.scratch}/twice`;
      const run = await begin(fleet, tree(pids, "trap '' INT TERM;"));
      run.child.kill("SIGINT");
      await new Promise((resolve) => setTimeout(resolve, 300));
      const from = Date.now();
      run.child.kill("SIGINT");
      assert.deepEqual(await run.end(), { code: 130, out: "ready\n", err: "" });
      assert(Date.now() - from < 1500);
      await allGone(pids, 1000);
    },
  );

  for (const [signal, code] of [["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    await step(
      t,
      `EXE-5: ${signal} ends the CLI within a second with ${code}, and the tree`,
      async () => {
        const pids = `${fleet.scratch}/${signal}`;
        const run = await begin(fleet, tree(pids, "trap '' TERM HUP;"));
        const from = Date.now();
        run.child.kill(signal);
        assert.equal((await run.end()).code, code);
        assert(Date.now() - from < 1500);
        await allGone(pids, 10_000);
      },
    );
  }

  await step(t, "EXE-5: --json owes its last line to a signal too", async () => {
    const run = await begin(fleet, "echo ready; sleep 60", "--json");
    run.child.kill("SIGTERM");
    const { code, out } = await run.end();
    const last = JSON.parse(out.trim().split("\n").at(-1)!);
    assert.deepEqual([code, last.stream, last.code], [143, "exit", 143]);
  });

  await step(
    t,
    "KIL-1, RUN-11: the CLI killed -9: the tree on the node is gone within 5 s",
    async () => {
      const pids = `${fleet.scratch}/killed`;
      const run = await begin(fleet, tree(pids, "trap '' TERM HUP;"));
      run.child.kill("SIGKILL");
      await run.end();
      await allGone(pids, 5000);
    },
  );
});

Deno.test({
  name: "RUN-11: the CLI's terminal closed: the tree on the node is gone within 5 s",
  ...requireComponent("script"),
  async fn() {
    await using fleet = await startFleet();
    const pids = `${fleet.scratch}/terminal`;
    const line = `openbox -t box '${tree(pids, 'trap "" TERM HUP;').replaceAll("\n", " ")}'`;
    await using terminal = openTerminal(line, fleet.env);
    await pidsIn(pids, 2);
    terminal.vanish();
    await allGone(pids, 5000);
  },
});

Deno.test({
  name: "RUN-10: Ctrl-C typed on a terminal, once and twice",
  ...requireComponent("script"),
  async fn() {
    await using fleet = await startFleet();
    // the shell here gets each Ctrl-C too, and would end of it
    const line =
      `trap : INT; openbox -t box 'trap "" INT; echo rea""dy; while :; do sleep 0.1; done'; echo code=$?`;
    await using terminal = openTerminal(line, fleet.env);
    await terminal.shows("ready");
    await terminal.type("\x03");
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert(!terminal.seen().includes("code="), terminal.seen());
    await terminal.type("\x03");
    await terminal.shows("code=130", 2000);
  },
});
