import assert from "node:assert/strict";
import { serviceFlags } from "../../../src/cli/service_flags.ts";
import { fakeHost } from "../../fakes/host.ts";
import { makeHome } from "./call.ts";

const PROGRAM = "/usr/local/bin/openbox";
const SERVER = ["--server", "https://box.example.com"];

/** In tests OPENBOX_HOME is set, which a service of the machine does not heed. */
const env = (): Record<string, string> =>
  Deno.uid() === 0 ? { OPENBOX_HOME: "", HOME: "/root" } : { HOME: "/home/me" };
const plan = { program: PROGRAM, env: env() };

Deno.test("the flags of a service are those that were given, else what the environment says, each in one word", () => {
  const host = fakeHost({
    cwd: "/work",
    env: { OPENBOX_NAME: "mini", OPENBOX_TAGS: "a,b", OPENBOX_INSECURE_HTTP: "0" },
  });
  assert.deepEqual(serviceFlags("agent", { server: "https://x", tlsCa: "ca.pem" }, host), [
    "--server=https://x",
    "--name=mini",
    "--tag=a",
    "--tag=b",
    "--tls-ca=/work/ca.pem",
  ]);
  const given = { name: "-x y", tag: ["c"], insecureHttp: true };
  assert.deepEqual(serviceFlags("agent", given, host), [
    "--name=-x y",
    "--tag=c",
    "--insecure-http",
  ]);
  const control = { ca: "database", db: "postgres://box@db/box", tlsKey: "/etc/tls.key" };
  assert.deepEqual(serviceFlags("control", control, fakeHost()), [
    "--db=postgres://box@db/box",
    "--ca=database",
    "--tls-key=/etc/tls.key",
  ]);
});

Deno.test("a dry run shows the files and commands of a service, and does nothing", async () => {
  await using home = await makeHome();
  const args = ["service", "install", "agent", ...SERVER, "-t", "gpu", "--dry-run"];
  const text = await home.call(args, plan);
  assert.equal(text.code, 0, text.err);
  const json = await home.call([...args, "--json"], plan);
  const { files, commands } = JSON.parse(json.out);
  assert.equal(files.length, 1);
  assert.ok(text.out.includes(files[0].text));
  assert.match(files[0].text, /--server=https:\/\/box\.example\.com/);
  assert.match(files[0].text, /--tag=gpu/);
  assert.ok(commands.length > 1);
  await assert.rejects(Deno.lstat(files[0].path), Deno.errors.NotFound);
  for (const service of ["agent", "daemon"]) {
    const removal = await home.call(["service", "uninstall", service, "--dry-run"], plan);
    assert.match(removal.out, /^rm /m);
  }
});

Deno.test("what a service would refuse at its start is refused before it is installed", async () => {
  await using home = await makeHome();
  const refused = async (args: string[], more: Record<string, string> = {}) => {
    const called = await home.call(["service", "install", ...args, "--dry-run"], {
      program: PROGRAM,
      env: { ...env(), ...more },
    });
    assert.notEqual(called.code, 0, called.out);
    return called.err;
  };
  assert.match(await refused(["agent", "--server", "box.example.com"]), /--server/);
  assert.match(await refused(["agent", "--tag", "a b"]), /--tag/);
  if (Deno.uid() !== 0 || Deno.build.os !== "linux") return;
  assert.match(await refused(["control", "--addr", ":8080"]), /insecure_http/);
  assert.match(
    await refused(["control"], { OPENBOX_CA_KEY: "pem" }),
    /OPENBOX_CA_KEY is set[^]*control\.env/,
  );
  assert.match(
    await refused(["agent", ...SERVER], { OPENBOX_HOME: "/box" }),
    /OPENBOX_HOME is \/box/,
  );
  const password = "postgres://me:secret@db/box";
  const leak = await refused(["control", "--db", password]);
  assert.match(leak, /password is on the command line/);
  assert.doesNotMatch(await refused(["control"], { OPENBOX_DB: password }), /me:secret/);
});

Deno.test("a port below 1024 takes a right of its own", {
  ignore: Deno.uid() !== 0 || Deno.build.os !== "linux",
}, async () => {
  await using home = await makeHome();
  const args = ["service", "install", "control", "--insecure-http", "--dry-run", "--addr"];
  assert.match((await home.call([...args, ":443"], plan)).out, /CAP_NET_BIND_SERVICE/);
  assert.doesNotMatch((await home.call([...args, ":8443"], plan)).out, /CAP_NET_BIND_SERVICE/);
});

Deno.test("without its launcher openbox cannot be a service, and there is no fourth one", async () => {
  await using home = await makeHome();
  const { err } = await home.call(["service", "install", "daemon", "--dry-run"], { env: env() });
  assert.match(err, /Cannot tell which executable/);
  const other = await home.call(["service", "uninstall", "web", "--dry-run"], plan);
  assert.deepEqual([other.code, other.out], [2, ""]);
  assert.match(other.err, /one of agent, control, daemon/);
});
