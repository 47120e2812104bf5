/**
 * What a process of each mode may still do when bytes from outside can reach it. It is started as its launcher
 * starts it, from source or built, with a probe before its own code that tries to do more (Linux: /proc tells
 * the launcher's arguments to Deno).
 */
import assert from "node:assert/strict";
import { baseEnv } from "../fixtures/base_env.ts";
import { type Fleet, startFleet } from "../fixtures/fleet.ts";
import { LAUNCHER, MAIN, OPENBOX } from "../fixtures/openbox.ts";
import { eventually } from "../fixtures/processes.ts";
import { collect } from "./control_process.ts";

const PROBE = new URL("../fixtures/permission_probe.js", import.meta.url).pathname;
const ignore = Deno.build.os !== "linux";

interface Probed extends AsyncDisposable {
  stderr(): string;
  stdout(): string;
  /** What became of each attempt. */
  try(): Promise<Record<string, string>>;
}

interface ProbedOptions {
  /** Asked by it, and not by the launcher's own process, which is started first for its arguments alone. */
  readonly server?: ReturnType<typeof silentControl>;
  readonly env: Readonly<Record<string, string>>;
  /** Named files that the probe tries. */
  readonly files?: Readonly<Record<string, string>>;
  readonly stdin?: "null" | "piped";
}

/** Deno's command line for these words, as the launcher makes it. */
async function launched(args: readonly string[], env: Record<string, string>) {
  const child = new Deno.Command(LAUNCHER, {
    args: [...args],
    clearEnv: true,
    env,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    return await eventually("it has become Deno", async () => {
      const [words, variables] = await Promise.all(
        ["cmdline", "environ"].map(async (name) =>
          (await Deno.readTextFile(`/proc/${child.pid}/${name}`)).split("\0").slice(0, -1)
        ),
      );
      if (words![1] !== "run") return undefined;
      return {
        words: words!,
        env: Object.fromEntries(variables!.map((line) => line.split(/=(.*)/s))),
      };
    });
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

const mapValues = (from: Record<string, string>, change: (text: string) => string) =>
  Object.fromEntries(Object.entries(from).map(([name, value]) => [name, change(value)]));

async function startProbed(
  args: readonly string[],
  { env, server, files = {}, stdin = "null" }: ProbedOptions,
): Promise<Probed> {
  using decoy = silentControl();
  const elsewhere = (text: string) => server ? text.replaceAll(server.url, decoy.url) : text;
  const back = (text: string) => server ? text.replaceAll(decoy.url, server.url) : text;
  const line = await launched(
    args.map(elsewhere),
    mapValues({ ...baseEnv(), ...server?.env, ...env }, elsewhere),
  );
  return start(
    line.words.map(back),
    { ...mapValues(line.env, back), PROBE_FILES: JSON.stringify(Object.entries(files)) },
    stdin,
  );
}

function start(words: string[], env: Record<string, string>, stdin: "null" | "piped"): Probed {
  const [deno, run, ...rest] = words;
  const child = new Deno.Command(deno!, {
    args: [run!, `--preload=${PROBE}`, ...rest],
    clearEnv: true,
    env,
    stdin,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const out = collect(child.stdout), err = collect(child.stderr);
  return {
    stdout: out.text,
    stderr: err.text,
    async try() {
      child.kill("SIGUSR2");
      const told = await eventually(
        "the probe tells",
        () => /^probe: (.*)$/m.exec(err.text())?.[1],
      );
      return JSON.parse(told);
    },
    async [Symbol.asyncDispose]() {
      if (stdin === "piped") await child.stdin.close().catch(() => {});
      child.kill("SIGKILL");
      await child.status;
      await Promise.all([out.end, err.end]);
    },
  };
}

/** Files beside everything that a mode may touch. */
async function outside() {
  const path = await Deno.makeTempDir({ prefix: "openbox-outside-" });
  await Deno.writeTextFile(`${path}/secret`, "secret");
  return {
    path,
    files: {
      read: `${path}/secret`,
      read_system: "/etc/passwd",
      write: `${path}/new`,
      write_over: `${path}/secret`,
    },
    async [Symbol.asyncDispose]() {
      assert.equal(await Deno.readTextFile(`${path}/secret`), "secret");
      await Deno.remove(path, { recursive: true });
    },
  };
}

const NOTHING = {
  spawn: "refused",
  spawn_self: "refused",
  load: "refused",
  read: "refused",
  read_system: "refused",
  write: "refused",
  write_over: "refused",
};

Deno.test({
  name: "the control plane starts nothing, loads nothing, and touches its own files alone",
  ignore,
  async fn() {
    await using there = await outside();
    const home = `${there.path}/home`;
    const env = { OPENBOX_HOME: home, OPENBOX_ADDR: "127.0.0.1:0" };
    await using control = await startProbed(["control"], {
      env,
      files: { ...there.files, write_own: `${home}/note`, read_own: `${home}/note` },
    });
    await eventually("it listens", () => /^log in with/m.test(control.stdout()), 20_000);
    assert.deepEqual(await control.try(), { ...NOTHING, write_own: "done", read_own: "done" });
  },
});

/** A control plane that takes connections and says nothing. */
function silentControl() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return {
    env: {
      OPENBOX_SERVER: `http://127.0.0.1:${listener.addr.port}`,
      OPENBOX_TOKEN: "obx_x",
    },
    url: `http://127.0.0.1:${listener.addr.port}`,
    accept: () => listener.accept(),
    [Symbol.dispose]: () => listener.close(),
  };
}

Deno.test({
  name:
    "a command that waits for an answer starts nothing, loads nothing, and touches its home alone",
  ignore,
  async fn() {
    await using there = await outside();
    const home = `${there.path}/home`;
    for (
      const args of [["nodes"], ["-t", "x", "true"], ["run", "-t", "x", "true"], ["node", "token"]]
    ) {
      using silent = silentControl();
      await using command = await startProbed(args, {
        server: silent,
        env: { OPENBOX_HOME: home },
        files: there.files,
      });
      using _asked = await silent.accept();
      assert.deepEqual(await command.try(), NOTHING, args.join(" "));
    }
  },
});

Deno.test({
  name: "a command may read and write the files that its user names, and those beside them not",
  ignore,
  async fn() {
    await using there = await outside();
    using silent = silentControl();
    const named = `${there.path}/token`;
    await Deno.writeTextFile(named, "obx_x\n");
    const args = ["login", "--server", silent.url, "--token-file", named];
    await using login = await startProbed(args, {
      server: silent,
      env: { OPENBOX_HOME: `${there.path}/home` },
      files: { ...there.files, read_named: named },
    });
    using _asked = await silent.accept();
    assert.deepEqual(await login.try(), { ...NOTHING, read_named: "done" });
  },
});

Deno.test({
  name:
    "the daemon, and a command that goes through it, start nothing, load nothing, and touch their home alone",
  ignore,
  async fn() {
    await using there = await outside();
    await using fleet: Fleet = await startFleet();
    const env = { OPENBOX_HOME: fleet.home, OPENBOX_NO_DAEMON: "0" };
    await using daemon = await startProbed(["daemon"], {
      env,
      files: { ...there.files, write_own: `${fleet.home}/note` },
    });
    await eventually("it serves", async () => {
      const { out } = await fleet.call(["daemon", "status", "--json"]);
      return JSON.parse(out).running;
    }, 20_000);
    await using command = await startProbed(["-t", "box", "echo started; cat"], {
      env,
      files: there.files,
      stdin: "piped",
    });
    await eventually("the node answers", () => command.stdout() === "started\n", 20_000);
    assert.deepEqual(await command.try(), NOTHING);
    assert.deepEqual(await daemon.try(), { ...NOTHING, write_own: "done" });
  },
});

Deno.test({
  name: "the agent may do anything, since who may start commands can",
  ignore,
  async fn() {
    await using there = await outside();
    using silent = silentControl();
    await using agent = await startProbed(["agent", "--server", silent.url], {
      server: silent,
      env: {
        OPENBOX_HOME: `${there.path}/home`,
        OPENBOX_AGENT_ADDR: "127.0.0.1:0",
        OPENBOX_ENROLL_TOKEN: `enroll_${"a".repeat(32)}.${"A".repeat(43)}`,
      },
      files: { read_system: "/etc/passwd" },
    });
    using _asked = await silent.accept();
    const { spawn, load, read_system } = await agent.try();
    assert.deepEqual([spawn, load, read_system], ["done", "done", "done"]);
  },
});

Deno.test({
  name: "what is for programs keeps them: upgrade may start one, and loads none into itself",
  ignore,
  async fn() {
    using silent = silentControl();
    const home = await Deno.makeTempDir();
    {
      await using upgrade = await startProbed(["upgrade", "--check"], {
        server: silent,
        env: { OPENBOX_HOME: home, OPENBOX_BASE_URL: silent.url },
      });
      using _asked = await silent.accept();
      const { spawn, load } = await upgrade.try();
      assert.deepEqual([spawn, load], ["done", "refused"]);
    }
    await Deno.remove(home, { recursive: true });
  },
});

Deno.test({
  name: "however Deno was started, to start programs and to load libraries is given up",
  ignore,
  async fn() {
    await using there = await outside();
    using silent = silentControl();
    const words = OPENBOX.includes(MAIN)
      ? [...OPENBOX]
      : (await launched(["agent"], { ...baseEnv(), OPENBOX_HOME: there.path })).words.slice(0, -1);
    const env = {
      ...baseEnv(),
      PROBE_FILES: "[]",
      OPENBOX_HOME: `${there.path}/home`,
      ...silent.env,
    };
    for (const args of [["nodes"], ["-t", "x", "true"]]) {
      await using command = start([...words, ...args], env, "null");
      using _asked = await silent.accept();
      assert.deepEqual(await command.try(), {
        spawn: "refused",
        spawn_self: "refused",
        load: "refused",
      }, args.join(" "));
    }
    await using control = start([...words, "control"], {
      ...env,
      OPENBOX_ADDR: "127.0.0.1:0",
      OPENBOX_HOME: `${there.path}/control`,
    }, "null");
    await eventually("it listens", () => /^log in with/m.test(control.stdout()), 20_000);
    const { spawn, load } = await control.try();
    assert.deepEqual([spawn, load], ["refused", "refused"]);
  },
});
