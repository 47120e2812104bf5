import assert from "node:assert/strict";
import type { OpenboxError } from "../../../../src/errors.ts";
import { openDockerBackend } from "../../../../src/isolation/docker/backend.ts";
import { command, finish } from "../../../contract/isolation.ts";
import { requireComponent } from "../../../fixtures/component.ts";
import { sharedHost } from "../../../fixtures/docker_host.ts";
import { api, makeImage, placeOf, pushImage, startRegistry } from "../../../fixtures/dockerd.ts";

const components = requireComponent("docker-engine", "docker-registry", "busybox");

const RANDOM = Array.from({ length: 200_000 }, () => Math.random().toString(36)[2]).join("");

async function openWorld({ pullStallMs }: { readonly pullStallMs?: number } = {}) {
  await using stack = new AsyncDisposableStack();
  const host = sharedHost()!, home = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(home, { recursive: true }));
  await Deno.mkdir(`${home}/.docker`);
  await Deno.mkdir(`${home}/bin`);
  const place = placeOf(host, home);
  const backend = stack.use(
    openDockerBackend({
      home,
      env: (name) => name === "PATH" ? `${home}/bin:${place.env(name)}` : place.env(name),
      owner: `test-${crypto.randomUUID()}`,
      boot: "1",
      pullStallMs,
    }),
  );
  const owned = stack.move();
  return {
    host,
    home,
    configure: (config: unknown) =>
      Deno.writeTextFile(`${home}/.docker/config.json`, JSON.stringify(config)),
    async run(
      image: string,
      options: { signal?: AbortSignal; onProgress?(text: string): void } = {},
    ) {
      const asked = command("echo ran", { cwd: undefined, confinement: { net: "none" } });
      await using process = await backend.run({ kind: "docker", image }, asked, options);
      return (await finish(process)).out;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test(
  "ISO-5: an image is pulled with the login of auths or of a helper, and its progress told",
  components,
  async () => {
    await using world = await openWorld();
    await using registry = await startRegistry();
    const { host, run } = world, { address, auth } = registry;
    const made = await makeImage(host, "openbox-pulled", { files: { "/etc/some": RANDOM } });
    const image = await pushImage(host, made, registry);
    await api(host, "DELETE", `/images/${made}`).catch(() => {});
    const forget = () => api(host, "DELETE", `/images/${image}`).catch(() => {});

    await assert.rejects(run(image), (error: OpenboxError) => {
      assert.equal(error.code, "image_unavailable");
      assert.match(error.hint!, /docker login/);
      return true;
    });
    await world.configure({ auths: { [address]: { auth: btoa("me:wrong") } } });
    await assert.rejects(run(image), { code: "image_unavailable" });

    const told: string[] = [];
    await world.configure({
      auths: { [address]: { auth: btoa(`${auth.username}:${auth.password}`) } },
    });
    // both wait for one pull
    const options = { onProgress: (text: string) => void told.push(text) };
    assert.deepEqual(await Promise.all([run(image, options), run(image)]), ["ran\n", "ran\n"]);
    // whoever was the second one joins wherever the pull is by then
    for (const line of told) assert.ok(line.startsWith(`pulling ${image}`), line);
    assert.ok(told.some((line) => /: \d+ of \d+ layers/.test(line)), told.join("\n"));
    told.length = 0;
    assert.equal(await run(image, options), "ran\n");
    assert.deepEqual(told, [], "what is there is not asked for");

    await forget();
    await Deno.writeTextFile(
      `${world.home}/bin/docker-credential-test`,
      `#!/bin/sh\necho '${JSON.stringify({ Username: auth.username, Secret: auth.password })}'\n`,
      { mode: 0o755 },
    );
    await world.configure({ credHelpers: { [address]: "test" } });
    assert.equal(await run(image), "ran\n");
    await forget();
  },
);

Deno.test(
  "ISO-4, EXE-10: an image that is missing, where no registry answers",
  components,
  async () => {
    await using world = await openWorld();
    await assert.rejects(world.run("127.0.0.1:1/no/such:1"), (error: OpenboxError) => {
      assert.equal(error.code, "image_unavailable");
      assert.match(error.message, /127\.0\.0\.1:1\/no\/such:1.*refused/);
      return true;
    });
    await assert.rejects(world.run("0".repeat(64)), { code: "image_unavailable" });
  },
);

Deno.test(
  "ISO-5, EXE-10: a pull that makes no progress is ended, and says so; so does a caller that gives up",
  components,
  async () => {
    await using world = await openWorld({ pullStallMs: 500 });
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepted: Deno.Conn[] = [];
    const accepting = (async () => {
      for await (const conn of silent) accepted.push(conn);
    })();
    const image = `127.0.0.1:${silent.addr.port}/never:1`;
    await assert.rejects(world.run(image), {
      code: "image_unavailable",
      message: /no progress for 0\.5 s/,
    });
    const gone = new Error("the caller is gone");
    const start = performance.now();
    await assert.rejects(world.run(image, { signal: AbortSignal.timeout(50) }), (error) => {
      assert.notEqual(error, gone);
      return true;
    });
    assert.ok(performance.now() - start < 450);
    for (const conn of accepted) conn.close();
    silent.close();
    await accepting;
  },
);
