/** A login's shell on a terminal, and what is left of the terminal here: docs/fidelity.md RUN-20, RUN-21. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { baseEnv } from "../fixtures/base_env.ts";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";
import { afterwards, around, openTerminal, prompted } from "../fixtures/terminal.ts";

/** A terminal with the login's shell of the node, and the number of that shell. */
async function openShell(fleet: Fleet, name: string) {
  const pids = `${fleet.scratch}/${name}`;
  const line = around(`sh -c 'echo $$ >${pids}-cli; exec openbox -t box'`);
  const terminal = openTerminal(line, fleet.env);
  await prompted(terminal);
  await terminal.type(`echo $$ >${pids}; sleep 300 & echo $! >>${pids}; echo re''ady\r`);
  await terminal.shows("ready");
  const [cli] = await pidsIn(`${pids}-cli`, 1);
  return { terminal, cli: cli!, remote: await pidsIn(pids, 2) };
}

const gone = async (pids: readonly number[], ms = 5_000) => {
  for (const pid of pids) await eventually(`${pid} is gone`, () => !isAlive(pid), ms);
};

Deno.test({
  name: "a terminal on a node",
  ...requireComponent("script", "bash"),
  async fn(t) {
    await using fleet = await startFleet();

    await step(
      t,
      "RUN-21: the login's shell is a login shell, and its exit code is ours",
      async () => {
        const line = `stty cols 101 rows 33; ${around("openbox -t box")}`;
        await using terminal = openTerminal(line, fleet.env);
        await prompted(terminal);
        await terminal.type("shopt -p login_shell; stty size; tty; pwd; exit 7\r");
        assert.match(await afterwards(terminal), /^code=7\r\nas before/);
        assert.match(terminal.seen(), /shopt -s login_shell\r\n33 101\r\n\/dev\/\S+\r\n\S+\r\n/);
      },
    );

    await step(t, "RUN-20: --tty gives a command a terminal, without one here too", async () => {
      const { code, out, err } = await fleet.call([
        ...["-t", "box", "--tty", "-e", "TERM=vt100"],
        "tty -s && stty size && echo $TERM; echo err >&2; exit 4",
      ]);
      assert.deepEqual([code, out, err], [4, "24 80\r\nvt100\r\nerr\r\n", ""]);
      const plain = await fleet.call(["-t", "box", "-T", "tty; exit 4"]);
      assert.deepEqual([plain.code, plain.out], [4, "not a tty\n"]);
    });

    await step(
      t,
      "RUN-20: without a command and a terminal it says so; -T reads commands",
      async () => {
        const refused = await fleet.call(["-t", "box"], { stdin: "exit 3\n" });
        assert.equal(refused.code, 2);
        assert.match(refused.err, /^openbox: usage: There is no command, and stdin is no terminal/);
        const script = "shopt -q login_shell && exit 5\n";
        assert.equal((await fleet.call(["-t", "box", "-T"], { stdin: script })).code, 5);
      },
    );

    await step(
      t,
      "RUN-20: a newline that a program means as one moves no cursor back",
      async () => {
        const call = `openbox -t box --tty 'stty -opost; printf "one\\ntwo\\n"'`;
        await using terminal = openTerminal(around(call), fleet.env);
        await afterwards(terminal);
        assert.ok(terminal.seen().includes("one\ntwo\n"), terminal.seen());
      },
    );

    await step(t, "RUN-13: --timeout ends a terminal with 124", async () => {
      await using terminal = openTerminal(
        around("openbox -t box --timeout 1s --tty sleep 300"),
        fleet.env,
      );
      assert.match(await afterwards(terminal), /^code=124\r\nas before/);
    });

    await step(t, "RUN-20: Ctrl-C is a key, and the shell's job hears it", async () => {
      await using terminal = openTerminal(around("openbox -t box"), fleet.env);
      await prompted(terminal);
      await terminal.type("echo go; sleep 300\r");
      await terminal.shows("go\r\n");
      await terminal.type("\x03");
      await terminal.shows("^C\r\n");
      await prompted(terminal);
      await terminal.type("echo code=$?; exit 0\r");
      await afterwards(terminal);
      assert.match(terminal.seen(), /code=130\r\n/);
    });

    await step(t, "RUN-9: a terminal whose reader went away ends its command", async () => {
      const pids = `${fleet.scratch}/unread`;
      const from = Date.now();
      const { out } = await fleet.shell(
        `openbox -t box --tty 'echo $$ >${pids}; exec yes' </dev/null | head -1`,
      );
      assert.equal(out, "y\r\n");
      await gone(await pidsIn(pids, 1));
      assert.ok(Date.now() - from < 5000);
    });

    await step(t, "RUN-20: a paste of 1 MiB arrives whole", async () => {
      const file = `${fleet.scratch}/paste`, paste = "0123456789abcde\n".repeat(65_536);
      await using terminal = openTerminal(
        around(`openbox -t box --tty 'stty raw -echo; echo go; head -c 1048576 >${file}'`),
        fleet.env,
      );
      await terminal.shows("go");
      await terminal.type(paste);
      assert.match(await afterwards(terminal), /^code=0\r\nas before/);
      assert.equal(await Deno.readTextFile(file), paste);
    });

    for (const [signal, code] of [["SIGTERM", 143], ["SIGHUP", 129], ["SIGQUIT", 131]] as const) {
      await step(
        t,
        `EXE-5: ${signal} ends the CLI, the terminal is as before, the tree gone`,
        async () => {
          const { terminal, cli, remote } = await openShell(fleet, signal);
          await using _ = terminal;
          Deno.kill(cli, signal);
          assert.match(await afterwards(terminal), new RegExp(`^code=${code}\r\nas before`));
          await gone(remote);
        },
      );
    }

    await step(t, "RUN-11: a terminal that vanishes ends what ran on it", async () => {
      const { terminal, cli, remote } = await openShell(fleet, "vanished");
      terminal.vanish();
      await gone([cli, ...remote]);
      await terminal[Symbol.asyncDispose]();
    });

    await step(
      t,
      "RUN-22: an agent killed: lost, the terminal as before, the tree gone",
      async () => {
        const { terminal, remote } = await openShell(fleet, "killed");
        await using _ = terminal;
        fleet.agents[0]!.kill("SIGKILL");
        assert.match(await afterwards(terminal), /^code=255\r\nas before/);
        await gone(remote);
      },
    );
  },
});

Deno.test({
  name: "RUN-20: a fault that nobody caught leaves the terminal as before",
  ...requireComponent("script"),
  async fn() {
    const host = new URL("../../src/process_host.ts", import.meta.url);
    const scratch = await Deno.makeTempDir();
    for (
      const fault of ["throw new Error('x')", "Promise.reject(new Error('x'))", "Deno.exit(9)"]
    ) {
      const script = `${scratch}/main.ts`;
      await Deno.writeTextFile(
        script,
        `import { processHost } from "${host}";
await processHost().stdin.passThrough();
setTimeout(() => { ${fault} });
`,
      );
      const config = new URL("../../deno.json", import.meta.url).pathname;
      const line = `'${Deno.execPath()}' run -A --no-check --quiet --config ${config} ${script}`;
      await using terminal = openTerminal(around(line), baseEnv());
      assert.match(await afterwards(terminal), /^code=[19]\r\nas before/, fault);
    }
    await Deno.remove(scratch, { recursive: true });
  },
});
