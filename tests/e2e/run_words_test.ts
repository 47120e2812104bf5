/** What a command is told: its words, environment and directory. docs/fidelity.md RUN-6, RUN-8, RUN-18, RUN-19. */
import assert from "node:assert/strict";
import { startFleet, step } from "../fixtures/fleet.ts";

Deno.test("what a command is told", async (t) => {
  await using fleet = await startFleet({
    agents: [{ name: "box", tags: ["box"], env: { AGENT_SECRET: "s3cret", TS_AUTHKEY: "tskey" } }],
  });
  const at = (...args: string[]) => ["-t", "box", ...args];
  const home = (await fleet.call(at("pwd"))).out.trim();

  await step(t, "RUN-6: words arrive as they are given", async () => {
    const words = ["a  b", "*", "$HOME", "|", ";", "'\"", "", "é\n", "--", "-n", "~", "\\"];
    const { out, code } = await fleet.call(at("printf", "%s\\n", ...words));
    assert.deepEqual([code, out], [0, words.map((word) => `${word}\n`).join("")]);
  });

  await step(
    t,
    "RUN-6: one word is a shell line; flags after the first word are the command's",
    async () => {
      const line = await fleet.call(at("echo $HOME | tr a-z A-Z"));
      assert.equal(line.out, `${home.toUpperCase()}\n`);
      assert.equal((await fleet.call(at("echo", "-t", "x", "--json"))).out, "-t x --json\n");
      assert.equal((await fleet.call(at("--", "echo", "--", "a"))).out, "-- a\n");
      assert.equal((await fleet.call(["--", "echo", "the only node"])).out, "the only node\n");
      assert.equal((await fleet.call(["run", "-n", "box", "--", "echo", "hi"])).out, "hi\n");
    },
  );

  await step(t, "RUN-6: a mistyped command of openbox never runs on a node", async () => {
    const { code, out, err } = await fleet.call(["ecoh", "hi"]);
    assert.deepEqual([code, out], [2, ""]);
    assert.match(err, /^openbox: usage: openbox has no command ecoh/);
  });

  await step(
    t,
    "EXE-1: words of 128 KiB arrive, as many as a command line here may have",
    async () => {
      const words = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(128 * 1024 - 1));
      const { out, code, err } = await fleet.call(at("printf", "%s.", ...words));
      assert.equal(code, 0, err);
      assert.equal(out, words.map((word) => `${word}.`).join(""));
    },
  );

  await step(t, "RUN-8: a command line of 1 MiB runs", async () => {
    const words = Array.from({ length: 1024 }, () => "x".repeat(1023));
    const { out, code, err } = await fleet.call(
      at("printf", "%s", ...words),
    );
    assert.equal(code, 0, err);
    assert.equal(out.length, 1024 * 1023);
  });

  await step(t, "RUN-18: the environment is the login's and nothing of the agent's", async () => {
    const names = (text: string) => text.trim().split("\n").map((line) => line.split("=")[0]);
    const { out } = await fleet.call(at("env"));
    const own = ["PWD", "OLDPWD", "SHLVL", "_"]; // the shell's
    const wanted = ["HOME", "LANG", "LOGNAME", "OPENBOX_NODE", "PATH", "SHELL", "USER"];
    assert.deepEqual(names(out).filter((name) => !own.includes(name!)).sort(), wanted);
    assert.match(out, new RegExp(`^OPENBOX_NODE=${fleet.agents[0]!.nodeId}$`, "m"));
    assert(!out.includes("s3cret") && !out.includes("tskey") && !out.includes(fleet.token));
  });

  await step(t, "RUN-18: -e sets exact values, and refuses names that are none", async () => {
    const value = " a\n'b' \"$c\" é \\";
    const given = await fleet.call(
      at(
        "-e",
        `A=${value}`,
        "-e",
        "FROM_HERE",
        "-e",
        "EMPTY=",
        'printf %s. "$A" "$FROM_HERE" "${EMPTY-unset}"',
      ),
      { env: { FROM_HERE: "x  y" } },
    );
    assert.equal(given.out, `${value}.x  y..`, given.err);
    const refused = await fleet.call(at("-e", "OPENBOX_NODE=x", "true"));
    assert.equal(refused.code, 255);
    assert.match(refused.err, /^openbox: bad_environment: not started: /);
  });

  await step(t, "RUN-19: a command starts in the home, or where -C says", async () => {
    const dir = `${fleet.scratch}/with space`;
    await Deno.mkdir(dir);
    assert.equal(home, Deno.env.get("HOME"));
    assert.equal((await fleet.call(at("-C", dir, "pwd"))).out, `${dir}\n`);
    assert.equal((await fleet.call(at("-C", "/", "pwd"))).out, "/\n");
    const relative = await Deno.makeTempDir({ dir: home, prefix: ".openbox-test-" });
    try {
      const name = relative.slice(home.length).replace(/^\/+/, "");
      assert.equal((await fleet.call(at("-C", name, "pwd"))).out, `${relative}\n`);
    } finally {
      await Deno.remove(relative);
    }
    const file = await fleet.call(at("-C", "/etc/passwd", "pwd"));
    assert.equal(file.code, 255);
    assert.match(file.err, /^openbox: bad_directory: not started: /);
  });

  await step(t, "what this version has not is refused, and nothing runs", async () => {
    const file = `${fleet.scratch}/ran`;
    const flags = [["--docker", "alpine"], ["--nspawn", "/srv/tree"], [
      "-s",
      "work",
      "--docker",
      "alpine",
    ]];
    for (const flag of flags) {
      const { code, err } = await fleet.call(at(...flag, "touch", file));
      assert.equal(code, 255, flag.join(" "));
      assert.match(err, /^openbox: \w+: not started: /);
    }
    await assert.rejects(Deno.stat(file), Deno.errors.NotFound);
  });
});
