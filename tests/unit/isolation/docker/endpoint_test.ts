import assert from "node:assert/strict";
import { readRegistryAuth, registryOf } from "../../../../src/isolation/docker/auth.ts";
import { findDockerEndpoint } from "../../../../src/isolation/docker/endpoint.ts";

interface Place extends AsyncDisposable {
  readonly home: string;
  with(env: Record<string, string>): { env(name: string): string | undefined; home: string };
  write(path: string, content: unknown): Promise<void>;
}

async function openPlace(): Promise<Place> {
  const home = await Deno.makeTempDir();
  return {
    home,
    with: (env) => ({ env: (name) => env[name], home }),
    async write(path, content) {
      await Deno.mkdir(`${home}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      const text = typeof content === "string" ? content : JSON.stringify(content);
      await Deno.writeTextFile(`${home}/${path}`, text, { mode: 0o755 });
    },
    [Symbol.asyncDispose]: () => Deno.remove(home, { recursive: true }),
  };
}

Deno.test("DOCKER_HOST says where the engine is", async () => {
  await using place = await openPlace();
  const at = (host: string) => findDockerEndpoint(place.with({ DOCKER_HOST: host }));
  assert.deepEqual(await at("unix:///x/y.sock"), { kind: "unix", path: "/x/y.sock" });
  const tcp = { kind: "tcp", hostname: "10.0.0.4", tls: undefined };
  assert.deepEqual(await at("tcp://10.0.0.4:99"), { ...tcp, port: 99 });
  assert.deepEqual(await at("tcp://10.0.0.4"), { ...tcp, port: 2375 });
  assert.deepEqual(await at("tcp://[::1]:80"), { ...tcp, hostname: "::1", port: 80 });
  await assert.rejects(at("ssh://me@there"), { code: "docker_unavailable", message: /ssh/ });
  for (const bad of ["nonsense", "unix://relative", "tcp://", "fd://"]) {
    await assert.rejects(at(bad), { code: "docker_unavailable" }, bad);
  }
});

Deno.test("DOCKER_TLS_VERIFY takes the files of DOCKER_CERT_PATH", async () => {
  await using place = await openPlace();
  const env = {
    DOCKER_HOST: "tcp://there",
    DOCKER_TLS_VERIFY: "1",
    DOCKER_CERT_PATH: `${place.home}/certs`,
  };
  await assert.rejects(findDockerEndpoint(place.with(env)), {
    code: "docker_unavailable",
    message: /\/certs\/(ca|cert|key)\.pem/,
  });
  for (const name of ["ca", "cert", "key"]) await place.write(`certs/${name}.pem`, name);
  assert.deepEqual(await findDockerEndpoint(place.with(env)), {
    kind: "tcp",
    hostname: "there",
    port: 2376,
    tls: { ca: "ca", cert: "cert", key: "key" },
  });
});

Deno.test("the current context says where the engine is, unless DOCKER_HOST does", async () => {
  await using place = await openPlace();
  const id = new Uint8Array(
    await crypto.subtle.digest("SHA-256", new TextEncoder().encode("mine")),
  ).toHex();
  await place.write(`.docker/contexts/meta/${id}/meta.json`, {
    Name: "mine",
    Endpoints: { docker: { Host: "unix:///mine.sock" } },
  });
  await place.write(".docker/config.json", { currentContext: "mine" });
  const find = (env: Record<string, string> = {}) => findDockerEndpoint(place.with(env));
  assert.deepEqual(await find(), { kind: "unix", path: "/mine.sock" });
  assert.deepEqual(await find({ DOCKER_HOST: "unix:///other" }), { kind: "unix", path: "/other" });
  await assert.rejects(find({ DOCKER_CONTEXT: "gone" }), {
    code: "docker_unavailable",
    message: /no docker context gone/,
  });
});

Deno.test("without a word of it, the usual sockets are looked for", async () => {
  await using place = await openPlace();
  const path = `${place.home}/.colima/default/docker.sock`;
  await Deno.mkdir(`${place.home}/.colima/default`, { recursive: true });
  using _listener = Deno.listen({ transport: "unix", path });
  const found = await findDockerEndpoint(place.with({}));
  assert.equal(found.kind, "unix");
  // this machine may have an engine of its own, which comes first
  if (found.kind === "unix") assert.match(found.path, /^\/var\/run\/docker\.sock$|colima/);
});

Deno.test("the registry of an image is what docker takes for it", () => {
  const hub = "https://index.docker.io/v1/";
  for (const image of ["debian", "debian:12", "me/image", "a/b/c"]) {
    assert.equal(registryOf(image), hub);
  }
  assert.equal(registryOf("ghcr.io/a/b"), "ghcr.io");
  assert.equal(registryOf("localhost/a"), "localhost");
  assert.equal(registryOf("127.0.0.1:5000/a:1"), "127.0.0.1:5000");
});

Deno.test("logins come from auths, and from the helper of a registry", async () => {
  await using place = await openPlace();
  const read = (image: string) =>
    readRegistryAuth(image, place.with({ PATH: `${place.home}/bin:/usr/bin:/bin` }));
  assert.equal(await read("debian"), undefined);
  await place.write(".docker/config.json", {
    auths: { "reg:1": { auth: btoa("me:a:secret") }, "reg:2": { identitytoken: "t" } },
    credHelpers: { "reg:3": "test", "reg:4": "../bin/x", "reg:5": "missing", "reg:6": "test" },
  });
  await place.write(
    "bin/docker-credential-test",
    `#!/bin/sh\nread -r server; case $server in reg:3) echo '{"Username":"u","Secret":"s"}';; ` +
      `*) echo '{"Username":"<token>","Secret":"t"}';; esac\n`,
  );
  const of = (serveraddress: string, rest: Record<string, string>) => ({ ...rest, serveraddress });
  assert.deepEqual(await read("reg:1/a"), of("reg:1", { username: "me", password: "a:secret" }));
  assert.deepEqual(await read("reg:2/a"), of("reg:2", { identitytoken: "t" }));
  assert.deepEqual(await read("reg:3/a"), of("reg:3", { username: "u", password: "s" }));
  assert.deepEqual(await read("reg:6/a"), of("reg:6", { identitytoken: "t" }));
  await assert.rejects(read("reg:4/a"), { code: "image_unavailable" });
  await assert.rejects(read("reg:5/a"), { code: "image_unavailable", message: /missing/ });
});
