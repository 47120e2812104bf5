/** An engine that does not do as asked: each test has its own. */
import assert from "node:assert/strict";
import { text } from "../../../../src/bytes.ts";
import type { OpenboxError } from "../../../../src/errors.ts";
import { openDockerBackend } from "../../../../src/isolation/docker/backend.ts";
import { command, finish } from "../../../contract/isolation.ts";
import { requireComponent } from "../../../fixtures/component.ts";
import { sharedHost } from "../../../fixtures/docker_host.ts";
import { containersOf, makeImage, placeOf, startDockerd } from "../../../fixtures/dockerd.ts";
import { eventually, processesOf } from "../../../fixtures/processes.ts";

const components = requireComponent("dockerd", "linux-root", "busybox");
const confinement = { net: "none" } as const;
const KILLED = { kind: "signal", signal: "KILL", number: 9 } as const;

async function failure(promise: Promise<unknown>): Promise<OpenboxError> {
  const error = await promise.then(() => undefined, (error) => error);
  assert.ok(error, "it did not fail");
  return error as OpenboxError;
}

Deno.test(
  "ISO-4, EXE-10: an engine that is stopped, frozen, denied or gone is told as that, in time",
  components,
  async () => {
    await using dockerd = await startDockerd();
    const image = await makeImage(dockerd.host, "openbox-failing");
    const open = () =>
      openDockerBackend({
        ...placeOf(dockerd.host),
        owner: "test",
        boot: crypto.randomUUID(),
      });
    const run = async () => {
      await using backend = open();
      await using process = await backend.run(
        { kind: "docker", image },
        command("echo ran", { confinement, cwd: undefined }),
      );
      return (await finish(process)).out;
    };
    assert.equal(await run(), "ran\n");

    // a mode of 0 denies root too, once it lacks the capability to pass by modes
    await Deno.chmod(dockerd.socket, 0o000);
    const script = new URL("denied.ts", import.meta.url).pathname;
    const denied = await new Deno.Command("setpriv", {
      args: [
        "--bounding-set=-dac_override,-dac_read_search",
        ...[Deno.execPath(), "run", "-A", "--no-prompt", "--no-check", "--quiet"],
        ...[script, dockerd.host, image],
      ],
      stdin: "null",
    }).output();
    assert.match(text(denied.stdout), /^docker_unavailable\n.*may not use.*\n.*docker LOGIN/);
    await Deno.chmod(dockerd.socket, 0o660);

    await using backend = open();
    await using going = await backend.run(
      { kind: "docker", image },
      command("sleep 300", { confinement, cwd: undefined }),
    );
    dockerd.kill("SIGSTOP");
    const start = performance.now();
    const frozen = await failure(run());
    assert.equal(frozen.code, "docker_unavailable");
    assert.match(frozen.message, /did not answer within 10 s/);
    assert.ok(frozen.hint);
    assert.ok(performance.now() - start < 25_000);
    dockerd.kill("SIGCONT");
    assert.equal(await run(), "ran\n");

    dockerd.kill("SIGTERM");
    await dockerd.ended;
    // by the engine's own hand, if it still told so
    assert.deepEqual(
      await going.exit.catch(({ code }) => code === "lost" ? KILLED : code),
      KILLED,
    );
    const stopped = await failure(run());
    assert.equal(stopped.code, "docker_unavailable");
    assert.match(stopped.hint!, /systemctl start docker/);
  },
);

Deno.test(
  "KIL-7: an engine that is killed: the run is told as lost, nothing of it goes on, and the next one works",
  components,
  async () => {
    await using dockerd = await startDockerd();
    const image = await makeImage(dockerd.host, "openbox-killed");
    await using backend = openDockerBackend({
      ...placeOf(dockerd.host),
      owner: "test",
      boot: crypto.randomUUID(),
    });
    const start = (line: string) =>
      backend.run({ kind: "docker", image }, command(line, { confinement, cwd: undefined }));
    const mark = `sleep ${Math.floor(1e8 + Math.random() * 1e8)}`;
    await using going = await start(`trap '' HUP TERM; ${mark} & ${mark}`);
    await eventually("it runs", async () => (await processesOf(mark)).length === 2);
    dockerd.kill("SIGKILL");
    await dockerd.ended;
    assert.equal((await failure(going.exit)).code, "lost");
    const down = await failure(start("true"));
    assert.equal(down.code, "docker_unavailable");
    await dockerd.restart();
    await using again = await start("echo ran");
    assert.equal((await finish(again)).out, "ran\n");
    await eventually("nothing of it is left", async () => (await processesOf(mark)).length === 0);
    await again[Symbol.asyncDispose]();
    await eventually(
      "no container is left",
      async () => (await containersOf(dockerd.host, "test")).length === 0,
    );
  },
);

Deno.test("RES-2, EXE-10: a full disk of the engine is told as that", components, async () => {
  await using dockerd = await startDockerd({ dataMib: 24 });
  const image = await makeImage(dockerd.host, "openbox-full");
  await using backend = openDockerBackend({
    ...placeOf(dockerd.host),
    owner: "test",
    boot: "1",
  });
  const spec = { kind: "docker", image } as const;
  await new Deno.Command("sh", {
    args: ["-c", `cat /dev/zero >"$1"/filler 2>/dev/null`, "sh", dockerd.data],
  }).output();
  const full = await failure(
    backend.run(spec, command("true", { confinement, cwd: undefined })),
  );
  assert.equal(full.code, "docker_unavailable");
  assert.match(full.message, /no space left/);
  assert.match(full.hint!, /docker system prune/);
  await Deno.remove(`${dockerd.data}/filler`);
  await using process = await backend.run(
    spec,
    command("dd if=/dev/zero of=/file bs=1M; rm /file; echo ran", { confinement, cwd: undefined }),
  );
  assert.match((await finish(process)).out, /ran\n$/, "a command that fills it can still remove");
});

Deno.test(
  "ISO-4: an engine that takes the place of one that is gone is found",
  requireComponent("docker-engine", "busybox"),
  async () => {
    const home = await Deno.makeTempDir(), folder = `${home}/.docker/contexts`;
    try {
      const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode("mine"));
      const meta = `${folder}/meta/${new Uint8Array(digest).toHex()}`;
      await Deno.mkdir(meta, { recursive: true });
      const point = (host: string) =>
        Deno.writeTextFile(
          `${meta}/meta.json`,
          JSON.stringify({ Endpoints: { docker: { Host: host } } }),
        );
      const image = await makeImage(sharedHost()!, "openbox-moved");
      await point("unix:///nonexistent/docker.sock");
      await using backend = openDockerBackend({
        env: (name) => name === "DOCKER_CONTEXT" ? "mine" : undefined,
        home,
        owner: `test-${crypto.randomUUID()}`,
        boot: "1",
      });
      const run = () =>
        backend.run({ kind: "docker", image }, command("echo ran", { cwd: undefined }));
      assert.equal((await failure(run())).code, "docker_unavailable");
      await point(sharedHost()!);
      await using process = await run();
      assert.equal((await finish(process)).out, "ran\n");
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  },
);

Deno.test("ISO-4: where there is no engine at all, that is what is said", async () => {
  const nothing = { env: () => undefined, home: "/nonexistent" };
  await using backend = openDockerBackend({
    ...nothing,
    env: (name) => name === "DOCKER_HOST" ? "unix:///nonexistent/docker.sock" : undefined,
    owner: "test",
    boot: "1",
  });
  const absent = await failure(
    backend.run({ kind: "docker", image: "debian" }, command("true", { cwd: undefined })),
  );
  assert.equal(absent.code, "docker_unavailable");
  assert.match(absent.message, /\/nonexistent\/docker\.sock/);
});
