/** Docker as its user has it: the CLI, a control plane and an agent, and a real engine. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { sharedHost } from "../fixtures/docker_host.ts";
import { api, containersOf, makeImage, pushImage, startRegistry } from "../fixtures/dockerd.ts";
import { type Fleet, startFleet } from "../fixtures/fleet.ts";
import { eventually } from "../fixtures/processes.ts";
import { openPane } from "../fixtures/tmux.ts";

const components = requireComponent("docker-engine", "busybox", "tmux", "bash");

const lastLine = (out: string) => JSON.parse(out.trim().split("\n").at(-1)!);

async function openWorld(env: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  const host = env.DOCKER_HOST ?? sharedHost()!;
  const fleet: Fleet = stack.use(
    await startFleet({
      agents: [{ name: "box", tags: ["box"], env: { DOCKER_HOST: host, ...env } }],
    }),
  );
  const owned = stack.move();
  const box = fleet.agents[0]!;
  return {
    host,
    fleet,
    box,
    call: (...args: string[]) => fleet.call(["-t", "box", ...args]),
    containers: () => containersOf(host, box.nodeId),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test(
  "ISO-1, ISO-9: a run and a session in docker, from the command line",
  components,
  async (t) => {
    await using world = await openWorld();
    const { host, fleet, box, call, containers } = world;
    const image = await makeImage(host, "openbox-e2e", {
      programs: ["bash"],
      changes: ["WORKDIR /job", "ENV FROM_IMAGE=yes"],
    });
    const run = (...args: string[]) => call("--docker", image, ...args);

    await t.step("RUN-1, RUN-5, RUN-18: streams, code and environment", async () => {
      const { code, out, err } = await run(
        "-e",
        "GIVEN=a b",
        "pwd; echo $FROM_IMAGE $GIVEN $OPENBOX_NODE; echo err >&2; exit 7",
      );
      assert.deepEqual([code, out, err], [7, `/job\nyes a b ${box.nodeId}\n`, "err\n"]);
    });

    await t.step("RUN-3, RUN-6: words and stdin", async () => {
      const piped = await fleet.call(["-t", "box", "--docker", image, "wc", "-l"], {
        stdin: "a\nb\n",
      });
      assert.equal(piped.out.trim(), "2");
      assert.equal((await run("printf", "%s\n", "a  b", "$HOME")).out, "a  b\n$HOME\n");
    });

    await t.step("RUN-13, EXE-14: a time-out ends the container too", async () => {
      const { code } = await run("--timeout", "1s", "trap '' TERM; sleep 300");
      assert.equal(code, 124);
      await eventually("it is gone", async () => (await containers()).length === 0);
    });

    await t.step("RUN-11, ISO-6: a client that is killed takes its container with it", async () => {
      const child = fleet.spawn(["-t", "box", "--docker", image, "echo on; sleep 300"], {
        stdin: "null",
      });
      const reader = child.stdout.getReader();
      await reader.read();
      assert.equal((await containers()).length, 1);
      child.kill("SIGKILL");
      await Promise.all([child.status, reader.cancel(), child.stderr.cancel()]);
      await eventually("it is gone", async () => (await containers()).length === 0);
    });

    await t.step("ISO-7, ISO-8: limits are held, and what is not allowed is refused", async () => {
      const limited = await run(
        "--memory",
        "32m",
        "head -c 200m /dev/zero | tail >/dev/null; exit $?",
      );
      assert.equal(limited.code, 137);
      const { code, err } = await run("--mount", "/etc:/m:ro", "true");
      assert.equal(code, 255);
      assert.match(err, /mount/);
      assert.match((await run("-C", "/no/such", "true")).err, /bad_directory|Cannot start in/);
    });

    await t.step("SEQ-1, SEQ-6, SEQ-15, ISO-9: a session keeps its container", async () => {
      const inside = (...args: string[]) => call("--docker", image, "-s", "work", ...args);
      assert.equal((await inside("cd /tmp; kept=1; echo content >file")).code, 0);
      assert.equal(
        (await call("-s", "work", "pwd; echo $kept; cat file; echo $BASH_VERSION")).out.replace(
          /5.*\n/,
          "",
        ),
        "/tmp\n1\ncontent\n",
      );
      assert.equal((await containers()).length, 1);
      const other = await call("--docker", "other", "-s", "work", "true");
      assert.equal(other.code, 255);
      assert.match(other.err, /session_isolation_mismatch/);
      assert.match((await fleet.call(["sessions"])).out, /docker:openbox-e2e:1/);
      const ended = await call("-s", "work", "exit 3");
      assert.equal(ended.code, 3);
      await eventually("its container is gone", async () => (await containers()).length === 0);
      assert.match((await call("-s", "work", "echo $kept")).err, /started anew/);
      assert.equal((await fleet.call(["session", "end", "work"])).code, 0);
      await eventually("its container is gone", async () => (await containers()).length === 0);
    });

    await t.step("RUN-20, RUN-21: a terminal in a container", async () => {
      const env = { ...fleet.env, PATH: `${fleet.scratch}/../bin:${fleet.env.PATH}` };
      await using pane = await openPane(`openbox -t box --docker ${image}; echo code $?`, env);
      await pane.enter("PS1='> '; stty size; tty");
      await pane.shows(/24 80\n\/dev\/pts\/0/);
      await pane.enter(`sh -c "echo be''gun; sleep 300"`);
      await pane.shows("begun");
      await pane.press("C-z");
      await pane.shows("Stopped");
      await pane.enter("kill -9 %1; echo went''on");
      await pane.shows("wenton");
      await pane.resize(100, 30);
      await pane.enter('until [ "$(stty size)" = "30 100" ]; do sleep 0.1; done; echo re""sized');
      await pane.shows("resized");
      await pane.enter("exit 7");
      await pane.shows("code 7");
    });

    await t.step("SEQ-14, ISO-6: an agent that is killed leaves no container", async () => {
      assert.equal((await call("--docker", image, "-s", "lost", "true")).code, 0);
      const going = fleet.spawn(["-t", "box", "--docker", image, "echo on; sleep 300"], {
        stdin: "null",
      });
      const reader = going.stdout.getReader();
      await reader.read();
      assert.equal((await containers()).length, 2);
      box.kill("SIGKILL");
      await eventually("nothing is left", async () => (await containers()).length === 0);
      await Promise.all([going.status, reader.cancel(), going.stderr.cancel()]);
    });
  },
);

Deno.test(
  "ISO-5: the progress of a pull is shown on a terminal, and --timeout counts for it",
  requireComponent("docker-engine", "docker-registry", "busybox", "tmux"),
  async () => {
    await using registry = await startRegistry();
    const home = await Deno.makeTempDir();
    try {
      await Deno.mkdir(`${home}/.docker`);
      const { username, password } = registry.auth;
      await Deno.writeTextFile(
        `${home}/.docker/config.json`,
        JSON.stringify({
          auths: { [registry.address]: { auth: btoa(`${username}:${password}`) } },
        }),
      );
      await using world = await openWorld({ DOCKER_CONFIG: `${home}/.docker` });
      const { fleet, host, call } = world;
      const image = await pushImage(host, await makeImage(host, "openbox-shown"), registry);
      const env = { ...fleet.env, PATH: `${fleet.scratch}/../bin:${fleet.env.PATH}` };
      const shown = `${fleet.scratch}/shown`;
      const line = `openbox -t box --docker ${image} echo pulled`;
      await using pane = await openPane(`script -qec '${line}' ${shown}; echo over`, env);
      await pane.shows(/^pulled\nover/m);
      assert.match(await Deno.readTextFile(shown), /openbox: pulling 127\.0\.0\.1/);
      const { err } = await call("--docker", image, "true");
      assert.equal(err, "", "where stderr is no terminal, nothing is said");
      await api(host, "DELETE", `/images/${image}`);

      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const late = await call(
        ...[
          "--timeout",
          "1s",
          "--json",
          "--docker",
          `127.0.0.1:${silent.addr.port}/never:1`,
          "true",
        ],
      );
      const { outcome, error } = lastLine(late.out);
      assert.equal(outcome, "not_started");
      assert.match(error.message, /could not start before its time-out/);
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  },
);

Deno.test(
  "ISO-4: without an engine nothing runs, and never on the node itself",
  requireComponent("busybox"),
  async () => {
    await using world = await openWorld({ DOCKER_HOST: "unix:///nonexistent/docker.sock" });
    const { call, fleet } = world;
    const file = `${fleet.scratch}/ran`;
    for (const session of [[], ["-s", "work"]]) {
      const { code, err } = await call("--docker", "debian", ...session, `touch ${file}`);
      assert.equal(code, 255);
      assert.match(err, /docker_unavailable.*not started.*\n.*hint: .*docker/s);
    }
    await assert.rejects(Deno.stat(file));
  },
);
