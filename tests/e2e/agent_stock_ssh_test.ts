/** Stock OpenSSH against our agent, with a certificate from a dispatch and one @cert-authority line. */
import assert from "node:assert/strict";
import { startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";
import { prepareStockSsh } from "../fixtures/stock_ssh.ts";

Deno.test("SSH-16: stock ssh runs commands on our agent", async (t) => {
  const env = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };
  await using fleet = await startFleet({ agents: [{ name: "box", tags: ["box"], env }] });
  const ssh = await prepareStockSsh(fleet);

  await step(t, "RUN-1, RUN-5: streams and exit codes", async () => {
    const both = await ssh.run(["printf out; printf err >&2; exit 7"]);
    assert.deepEqual([both.code, both.out, both.err], [7, "out", "err"]);
    for (const [line, code] of [["true", 0], ["exit 255", 255], ["no-such", 127]] as const) {
      assert.equal((await ssh.run([line])).code, code, line);
    }
  });

  await step(t, "RUN-5: death by a signal is an exit-signal, which ssh tells", async () => {
    const { code, err } = await ssh.run(["kill -TERM $$"], { flags: ["-v"] });
    assert.equal(code, 255);
    assert.match(err, /rtype exit-signal/);
  });

  await step(t, "RUN-3: stdin and its end", async () => {
    const input = new TextEncoder().encode("a\nb\n");
    assert.equal((await ssh.run(["wc -l"], { input })).out.trim(), "2");
    assert.equal((await ssh.run(["cat"], { flags: ["-n"] })).out, "");
  });

  await step(t, "RUN-2: 200 MB each way, byte for byte", async () => {
    const input = new Uint8Array(200_000_000);
    for (let at = 0; at < input.length; at += 65536) {
      crypto.getRandomValues(input.subarray(at, Math.min(at + 65536, input.length)));
    }
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", input)).toHex();
    const file = `${fleet.scratch}/bytes`;
    assert.equal((await ssh.run([`tee ${file} | sha256sum`], { input })).out.slice(0, 64), hash);
    const { stdout } = await ssh.run([`cat ${file}`]);
    const back = await crypto.subtle.digest("SHA-256", new Uint8Array(stdout));
    assert.equal(new Uint8Array(back).toHex(), hash);
  });

  await step(t, "RUN-9: yes | head -1 ends at once, on both sides", async () => {
    const pids = `${fleet.scratch}/yes`;
    const startedAt = performance.now();
    const { stdout } = await new Deno.Command("/bin/sh", {
      args: ["-c", 'ssh "$@" | head -1', "sh", ...ssh.args, `echo $$ >${pids}; exec yes`],
      stdin: "null",
    }).output();
    assert.equal(new TextDecoder().decode(stdout), "y\n");
    assert.ok(performance.now() - startedAt < 1_500);
    const [pid] = await pidsIn(pids, 1);
    await eventually("yes is gone", () => !isAlive(pid!), 1_000);
  });

  await step(t, "RUN-11: a killed ssh ends its command", async () => {
    const pids = `${fleet.scratch}/lost`;
    const child = new Deno.Command("ssh", {
      args: [...ssh.args, `trap '' HUP; echo $$ >${pids}; sleep 300 & echo $! >>${pids}; wait`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const started = await pidsIn(pids, 2);
    child.kill("SIGKILL");
    await child.status;
    await eventually("its tree is gone", () => !started.some(isAlive), 5_000);
  });

  await step(t, "RUN-12: what is put in the background lives on", async () => {
    const pids = `${fleet.scratch}/background`;
    const startedAt = performance.now();
    assert.equal((await ssh.run([`sleep 300 & echo $! >${pids}; echo hi`])).out, "hi\n");
    assert.ok(performance.now() - startedAt < 1_500);
    const [pid] = await pidsIn(pids, 1);
    assert.ok(isAlive(pid!));
    Deno.kill(pid!, "SIGKILL");
  });

  await step(t, "RUN-20: ssh -tt has a terminal: one stream, its exit code", async () => {
    const line = "tty -s && echo $TERM; echo err >&2; exit 6";
    const { code, out } = await ssh.run([line], { flags: ["-tt"] });
    assert.deepEqual([code, out.replace(/^\S+/, "TERM")], [6, "TERM\r\nerr\r\n"]);
  });

  await step(
    t,
    "RUN-21: without a command the login's shell, with a terminal or without",
    async () => {
      const input = new TextEncoder().encode("shopt -q login_shell && echo login; tty; exit 5\n");
      const plain = await ssh.run([], { input, flags: ["-T"] });
      assert.deepEqual([plain.code, plain.out], [5, "login\nnot a tty\n"]);
      const shown = await ssh.run([], { input, flags: ["-tt"] });
      assert.equal(shown.code, 5);
      assert.match(shown.out, /login\r\n\/dev\/\S+\r\n/);
    },
  );

  await step(t, "RUN-11: a killed ssh with a terminal ends its shell and jobs", async () => {
    const pids = `${fleet.scratch}/hung-up`;
    const child = new Deno.Command("ssh", {
      args: [...ssh.args.slice(0, -1), "-tt", ssh.args.at(-1)!],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(
      new TextEncoder().encode(`echo $$ >${pids}; nohup sleep 300 & echo $! >>${pids}\n`),
    );
    const started = await pidsIn(pids, 2);
    child.kill("SIGKILL");
    await child.status;
    await writer.close().catch(() => {});
    await eventually("its tree is gone", () => !started.some(isAlive), 5_000);
  });

  await step(
    t,
    "what is not served is refused in one line, and nothing runs",
    async () => {
      const refused = async (
        code: string,
        command: readonly string[],
        flags: readonly string[],
      ) => {
        const { code: exit, out, err } = await ssh.run(command, { flags });
        assert.deepEqual([exit, out], [255, ""], err);
        assert.match(err, new RegExp(`^openbox: ${code}: `, "m"));
      };
      await refused("docker_unavailable", ["echo ran"], [
        "-o",
        "SetEnv=OPENBOX_ISOLATION=docker:debian",
      ]);
      await refused("isolation_invalid", ["echo ran"], ["-o", "SetEnv=OPENBOX_ISOLATION=chroot"]);
      const sftp = await ssh.run(["sftp"], { flags: ["-s"] });
      assert.deepEqual([sftp.code, sftp.out], [255, ""]);
      assert.match(sftp.err, /^subsystem request failed/);
    },
  );

  await step(t, "SSH-10: variables arrive by name, openbox's own do not", async () => {
    const flags = ["-o", "SetEnv=LC_X=é OPENBOX_NODE=forged"];
    const { out } = await ssh.run(['echo "$LC_X $OPENBOX_NODE"'], { flags });
    assert.equal(out, `é ${fleet.agents[0]!.nodeId}\n`);
  });
});
