/** Commands, sessions and terminals in a container of a tree, by the CLI: docs/fidelity.md ISO-2. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { type Done, startFleet, step } from "../fixtures/fleet.ts";
import { makeTree } from "../fixtures/nspawn_tree.ts";
import { eventually, processesOf } from "../fixtures/processes.ts";
import { afterwards, around, openTerminal } from "../fixtures/terminal.ts";
import { openPane } from "../fixtures/tmux.ts";

const told = ({ code, out, err }: Done) => [code, out, err];

Deno.test(
  "nspawn, end to end",
  requireComponent("systemd-nspawn", "busybox", "linux-root", "tmux", "script"),
  async (t) => {
    await using tree = await makeTree();
    await using other = await makeTree();
    const settings = '[nspawn]\ntrees = ["/tmp"]\n';
    await using fleet = await startFleet({ agents: [{ name: "box", tags: ["box"], settings }] });
    const [box] = fleet.agents;
    const inside = ["-t", "box", "--nspawn", tree.root];
    const run = (...words: string[]) => fleet.call([...inside, ...words]);

    await step(t, "ISO-2, RUN-1, RUN-3: streams are the command's own", async () => {
      assert.deepEqual(told(await run("printf out; printf err >&2")), [0, "out", "err"]);
      const { out } = await fleet.call([...inside, "wc", "-l"], { stdin: "a\nb\n" });
      assert.equal(out, "2\n");
      assert.deepEqual(told(await run("cat")), [0, "", ""]);
    });

    await step(t, "ISO-2, RUN-2: 16 MiB of random bytes come back as they went", async () => {
      const line = `openbox -t box --nspawn ${tree.root} cat <${fleet.scratch}/bytes | cksum; ` +
        `cksum <${fleet.scratch}/bytes`;
      const bytes = `head -c 16777216 /dev/urandom >${fleet.scratch}/bytes`;
      const [there, here] = (await fleet.shell(`${bytes}; ${line}`)).out.trim().split("\n");
      assert.equal(there, here);
    });

    await step(t, "ISO-2, RUN-5, RUN-7: codes and signals come through", async () => {
      for (const code of [7, 126, 133, 255]) assert.equal((await run(`exit ${code}`)).code, code);
      const { out, code } = await run("--json", "kill -KILL $$");
      const { outcome, signal } = JSON.parse(out.trim().split("\n").at(-1)!);
      assert.deepEqual([code, outcome, signal], [137, "signal", "KILL"]);
      assert.equal((await run("no-such-command")).code, 127);
    });

    await step(t, "ISO-2, RUN-6, RUN-18, RUN-19: words, environment, directory", async () => {
      const words = ["%s\n", "a  b", "*", "$HOME", "'\"", "é\n"];
      assert.equal(
        (await run("printf", ...words)).out,
        words.slice(1).map((word) => `${word}\n`).join(""),
      );
      const { out } = await run("-e", "X=a  b", "-C", "/etc", "env; pwd");
      const lines = out.trim().split("\n").filter((line) => !/^(PWD|SHLVL|OLDPWD)=/.test(line));
      assert.deepEqual(
        lines.sort(),
        [
          "/etc",
          "HOME=/root",
          `LANG=${/LANG=(.*)/.exec(out)![1]}`,
          "LOGNAME=root",
          `OPENBOX_NODE=${box!.nodeId}`,
          `PATH=${/PATH=(.*)/.exec(out)![1]}`,
          "SHELL=/bin/sh",
          "USER=root",
          "X=a  b",
        ].sort(),
      );
      const missing = await run("-C", "/no/such", "true");
      assert.equal(missing.code, 255);
      assert.match(missing.err, /^openbox: bad_directory: not started: .*\/no\/such/);
    });

    await step(t, "ISO-3, EXE-11: a directory that is no tree is refused", async () => {
      const cases: [string, RegExp][] = [
        ["/", /isolation_invalid: .*own root/],
        ["relative", /isolation_invalid: .*absolute/],
        [`${tree.root}/../tree`, /isolation_invalid: .*\.\./],
        ["/tmp/no such tree", /is not there|missing/],
        ["/usr", /isolation_not_allowed/],
        [fleet.scratch, /isolation_invalid: .*no operating system|lies/],
      ];
      for (const [root, message] of cases) {
        const { code, out, err } = await fleet.call(["-t", "box", "--nspawn", root, "echo", "ran"]);
        assert.deepEqual([code, out], [err.includes("usage") ? 2 : 255, ""], root);
        assert.match(err, message);
      }
    });

    await step(t, "ISO-2, RUN-13: --timeout ends a tree that ignores TERM", async () => {
      const { code, out } = await run(
        "--timeout",
        "1s",
        "trap '' TERM; echo so far; setsid sleep 7311 & sleep 7311",
      );
      assert.deepEqual([code, out], [124, "so far\n"]);
      assert.deepEqual(await processesOf("sleep 7311"), []);
    });

    await step(t, "ISO-2, RUN-10: Ctrl-C reaches the command, and its tree is gone", async () => {
      const client = fleet.spawn([...inside, "sleep 7312; echo AFTER"]);
      await eventually("it runs", async () => (await processesOf("sleep 7312")).length > 0);
      client.kill("SIGINT");
      const { code, stdout } = await client.output();
      await client.stdin.close().catch(() => {});
      assert.deepEqual([code, stdout.length], [130, 0]);
      await eventually("it is gone", async () => (await processesOf("sleep 7312")).length === 0);
    });

    await step(t, "ISO-7: limits, no network, nothing kept, by flags", async () => {
      const limited = await run("--memory", "64m", "exec tail -n 1 /dev/zero");
      assert.equal(limited.code, 137);
      const { out } = await run(
        ...["--net", "none", "--volatile"],
        "tail -n +3 /proc/net/dev | wc -l; echo x >/root/volatile; ls /root",
      );
      assert.equal(out, "1\nvolatile\n");
      await assert.rejects(Deno.stat(`${tree.root}/root/volatile`));
      const { code, err } = await run("--shm-size", "64m", "true");
      assert.equal(code, 255);
      assert.match(err, /limit_unsupported: not started/);
    });

    await step(t, "ISO-2, SEQ-1, SEQ-5: a session is one shell in one container", async () => {
      const call = (...words: string[]) => fleet.call(["-s", "build", ...words]);
      await run("-s", "build", "cd /usr; X=kept; echo 1 >/run/here");
      assert.deepEqual(told(await call("pwd; echo $X; cat /run/here")), [0, "/usr\nkept\n1\n", ""]);
      const piped = await fleet.call(["-s", "build", "wc", "-c"], { stdin: "12345" });
      assert.equal(piped.out.trim(), "5");
      assert.equal((await call("--timeout", "300ms", "sleep 7313; echo AFTER")).code, 124);
      assert.equal((await call("pwd")).out, "/usr\n");
      assert.equal((await call("exit 3")).code, 3);
      assert.match((await call("echo <$X>; pwd")).err, /was started anew/);
    });

    await step(t, "SEQ-15: another tree is refused; a run beside the session, too", async () => {
      const wrong = await fleet.call(["-s", "build", "--nspawn", other.root, "true"]);
      assert.match(wrong.err, /session_isolation_mismatch: not started/);
      const beside = await run("true");
      assert.equal(beside.code, 255);
      assert.match(beside.err, /conflict: not started: A session has .*\n.*openbox sessions/);
      assert.match((await fleet.call(["sessions"])).out, new RegExp(`nspawn:${tree.root} `));
      assert.equal((await fleet.call(["session", "end", "build"])).code, 0);
      assert.equal((await run("exit 4")).code, 4);
    });

    await step(
      t,
      "ISO-2, RUN-20, RUN-21: a terminal with its size, job control, Ctrl-C",
      async () => {
        const line = `stty cols 101 rows 33; ${around(`openbox -t box --nspawn ${tree.root}`)}`;
        await using terminal = openTerminal(line, fleet.env);
        await terminal.shows("# ");
        // this shell drops what is typed before it knows where the cursor is
        await eventually("it answers", async () => {
          await terminal.type("\x15stty size; tty\r");
          return await terminal.shows("33 101\r\n/dev/", 500).then(() => true, () => false);
        });
        await terminal.type("sleep 7314\r");
        await eventually("it runs", async () => (await processesOf("sleep 7314")).length > 0);
        await terminal.type("\x1a"); // Ctrl-Z
        await terminal.shows("Stopped");
        await terminal.type("fg\r");
        await terminal.shows("fg\r\nsleep 7314\r\n");
        // which it says before the job has the terminal
        await eventually("Ctrl-C ends it", async () => {
          await terminal.type("\x03");
          return (await processesOf("sleep 7314")).length === 0;
        });
        await terminal.shows("# ");
        await terminal.type("\r\x15echo ended\r");
        await terminal.shows("\nended");
        await terminal.type("exit 7\r");
        assert.match(await afterwards(terminal), /^code=7\r\nas before/);
      },
    );

    await step(t, "ISO-2, RUN-20: vi and less in a container, and a resize", async () => {
      await using pane = await openPane(`openbox -t box --nspawn ${tree.root}`, fleet.env);
      // this shell asks where the cursor is, and drops what was typed before the answer
      const ask = (line: string, shown: RegExp) =>
        eventually(`${shown} after ${line}`, async () => {
          await pane.press("C-u");
          await pane.enter(`clear; ${line}`);
          return await pane.shows(shown, 1_000).then(() => true, () => false);
        }, 15_000);
      await ask("stty size", /^24 80\n/);
      await ask("vi /root/note", /^~$/m);
      await pane.press("i");
      await pane.enter("first line");
      await pane.press("second", "Escape");
      await pane.shows("second");
      await pane.resize(100, 30);
      await pane.shows(/(\n~){27}/);
      await pane.enter(":wq");
      await ask("stty size; cat /root/note", /^30 100\nfirst line\nsecond\n/);
      await ask("seq 1 300 | less", /^29$/m);
      await pane.press("G");
      await pane.shows(/^300$/m);
      await pane.press("q");
      await ask("echo back", /^back\n/);
      await pane.press("C-d");
    });

    await step(t, "ISO-6, RUN-11: a client that is killed leaves nothing", async () => {
      const client = fleet.spawn([...inside, "setsid sleep 7316 & sleep 7316"]);
      await eventually("it runs", async () => (await processesOf("sleep 7316")).length === 2);
      client.kill("SIGKILL");
      await client.output();
      await client.stdin.close().catch(() => {});
      await eventually("all is gone", async () => (await processesOf("sleep 7316")).length === 0);
      assert.equal((await run("exit 5")).code, 5, "and the tree is free");
    });

    await step(t, "ISO-6: an agent that is killed leaves nothing", async () => {
      const client = fleet.spawn([...inside, "setsid sleep 7317 & sleep 7317"]);
      await eventually("it runs", async () => (await processesOf("sleep 7317")).length === 2);
      box!.kill("SIGKILL");
      await eventually("all is gone", async () => (await processesOf("sleep 7317")).length === 0);
      await client.output();
      await client.stdin.close().catch(() => {});
      assert.equal((await Deno.readTextFile("/proc/self/mountinfo")).includes(tree.root), false);
    });
  },
);
