/** The CLI as a process: signals, terminals and pipes as a shell gives them. */
import assert from "node:assert/strict";
import { text, utf8 } from "../../src/bytes.ts";
import { requireComponent } from "../fixtures/component.ts";
import { baseEnv } from "../fixtures/base_env.ts";
import { startFleet } from "../fixtures/fleet.ts";
import { OPENBOX, OPENBOX_LINE, openboxCommand } from "../fixtures/openbox.ts";
import { openTerminal } from "../fixtures/terminal.ts";

Deno.test("the CLI as a process", async (t) => {
  await using fleet = await startFleet({ agents: [] });

  await t.step("a reader that went away ends it with 141 and not a word", async () => {
    const script = `{ openbox help; echo $? > ${fleet.scratch}/code; } | true`;
    const { err } = await fleet.shell(script);
    assert.equal(err, "");
    assert.equal((await Deno.readTextFile(`${fleet.scratch}/code`)).trim(), "141");
  });

  await t.step("closed streams and a full disk are no crash", async () => {
    assert.equal((await fleet.shell("openbox nodes <&-")).code, 0);
    assert.equal((await fleet.shell("openbox nodes >&-")).code, 0);
    const { code, err } = await fleet.shell("openbox version > /dev/full");
    assert.equal(code, 1);
    assert.match(err, /^openbox: output_failed: Cannot write to stdout here: No space left/);
  });

  await t.step("a login is kept 0600 in a 0700 home, and works for the next process", async () => {
    assert.equal((await Deno.stat(`${fleet.home}/config.json`)).mode! & 0o777, 0o600);
    assert.equal((await Deno.stat(fleet.home)).mode! & 0o777, 0o700);
    assert.match((await fleet.call(["whoami"])).out, /^me \(usr_[0-9a-f]{12}\) @ http:/);
  });

  await t.step("what it prints into a pipe has no colours and no progress", async () => {
    for (const args of [["help"], ["nodes"], ["-t", "x", "ls"]]) {
      const { out, err } = await fleet.call(args, { env: { NO_COLOR: "" } });
      assert(!(out + err).includes("\x1b"), args.join(" "));
    }
  });
});

Deno.test({
  name: "on a terminal login asks without echo, and Ctrl-C gives the terminal back",
  ...requireComponent("script"),
  async fn() {
    await using fleet = await startFleet({ agents: [] });
    const login = `openbox login --server ${fleet.url}; echo code=$?; stty -a; echo e''nd`;
    await using typed = openTerminal(login, fleet.env);
    await typed.shows("Token for ");
    await typed.type(`${fleet.token}\r`);
    await typed.shows("end");
    assert(typed.seen().includes(`logged in as me on ${fleet.url}`), typed.seen());
    assert(!typed.seen().includes(fleet.token));
    assert.match(typed.seen(), /[^-]echo /);

    await using stopped = openTerminal(login, fleet.env);
    await stopped.shows("Token for ");
    await stopped.type("obx_secret\x03");
    await stopped.shows("end");
    assert.match(stopped.seen(), /code=130/);
    assert.match(stopped.seen(), /[^-]echo /);
    assert(!stopped.seen().includes("obx_secret"));
  },
});

/** A control plane that takes connections and says nothing, and the environment of a CLI that asks it. */
function silentControl() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  return {
    env: { OPENBOX_SERVER: `http://127.0.0.1:${port}`, OPENBOX_TOKEN: "obx_x", NO_COLOR: "1" },
    accept: () => listener.accept(),
    [Symbol.dispose]: () => listener.close(),
  };
}

Deno.test("SIGINT, SIGTERM and SIGHUP end a command that waits, with 130, 143 and 129", async () => {
  using silent = silentControl();
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    for (const args of [["nodes"], ["-t", "x", "--json", "ls"]]) {
      const child = openboxCommand(args, { env: silent.env }).spawn();
      using _conn = await silent.accept();
      child.kill(signal);
      const { stdout, stderr, code: ended } = await child.output();
      assert.deepEqual([ended, text(stderr)], [code, ""]);
      if (args[0] === "nodes") assert.equal(text(stdout), "");
      else {
        const last = JSON.parse(text(stdout));
        assert.deepEqual([last.stream, last.outcome, last.code], ["exit", "not_started", code]);
      }
    }
  }
});

Deno.test({
  name:
    "a terminal is told what is waited for after a second, and the line goes away; a pipe is not",
  ...requireComponent("script"),
  async fn() {
    using silent = silentControl();
    // openTerminal hands nothing on
    const env = { ...baseEnv(), ...silent.env };
    await using terminal = openTerminal(`${OPENBOX_LINE} nodes`, env);
    const conn = await silent.accept();
    await terminal.shows("openbox: waiting for http://127");
    await conn.read(new Uint8Array(4096));
    await conn.write(utf8('HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"nodes":[]}'));
    await terminal.shows("…\r\x1b[KNAME ");
    conn.close();
  },
});

Deno.test({
  name: "a hang-up that nohup had it ignore stays ignored",
  ignore: Deno.build.os !== "linux", // elsewhere nothing tells us
  async fn() {
    using silent = silentControl();
    const child = new Deno.Command("nohup", {
      args: [...OPENBOX, "nodes"],
      env: silent.env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const conn = await silent.accept();
    child.kill("SIGHUP");
    await conn.read(new Uint8Array(4096)); // the request
    await conn.write(utf8('HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"nodes":[]}'));
    const { code, stdout } = await child.output();
    conn.close();
    assert.equal(code, 0);
    assert.match(text(stdout), /^NAME /);
  },
});

Deno.test("with a server and a token in the environment a read-only or absent home is enough", async () => {
  await using fleet = await startFleet({ agents: [] });
  const env = { OPENBOX_SERVER: fleet.url, OPENBOX_TOKEN: fleet.token };
  const script = "unset HOME OPENBOX_HOME; openbox nodes && openbox whoami";
  assert.equal((await fleet.shell(script, { env })).code, 0);
  const there = await fleet.shell(`OPENBOX_HOME=/proc/none openbox nodes`, { env });
  assert.equal(there.code, 0, there.err);
});
