import assert from "node:assert/strict";
import { type AgentFlags, readAgentSettings } from "../../../src/agent/settings.ts";
import { parseAgentRules } from "../../../src/agent/rules.ts";
import { formatEnrollToken } from "../../../src/ca/enroll_proof.ts";
import { newEnrollSecret } from "../../../src/ids.ts";
import { Secret } from "../../../src/secret.ts";
import { fakeHost, type FakeHostOptions } from "../../fakes/host.ts";

const token = () =>
  formatEnrollToken({
    secret: new Secret(newEnrollSecret()),
    fingerprint: `SHA256:${"A".repeat(43)}`,
  }).reveal();

const read = (flags: AgentFlags, env: Record<string, string> = {}, more: FakeHostOptions = {}) =>
  readAgentSettings(flags, fakeHost({ env: { OPENBOX_HOME: "/box", ...env }, ...more }));

Deno.test("without flags and variables nothing is said", async () => {
  assert.deepEqual(await read({}), {
    agentDir: "/box/agent",
    statePath: "/box/agent/agent.json",
    sessionsDir: "/box/agent/sessions",
    revocationsPath: "/box/agent/revocations.json",
    runsPath: "/box/agent/runs.jsonl",
    rules: parseAgentRules("", "/box/agent/agent.toml"),
    server: undefined,
    enrollToken: undefined,
    enrollTokenPath: "/box/agent/enroll_token",
    addr: undefined,
    advertise: undefined,
    name: undefined,
    tags: undefined,
    insecureHttp: false,
    tlsCa: undefined,
    warnings: [],
  });
});

Deno.test("a flag goes before its variable", async () => {
  const inFlag = token(), inVariable = token();
  const env = {
    OPENBOX_SERVER: "http://127.0.0.1:1",
    OPENBOX_ENROLL_TOKEN: inVariable,
    OPENBOX_AGENT_ADDR: "10.0.0.1:1",
    OPENBOX_ADVERTISE: "10.0.0.2:2",
    OPENBOX_NAME: "variable",
    OPENBOX_TAGS: "a,b",
    OPENBOX_INSECURE_HTTP: "1",
  };
  const fromEnv = await read({}, env);
  assert.equal(fromEnv.server?.href, "http://127.0.0.1:1");
  assert.equal(formatEnrollToken(fromEnv.enrollToken!).reveal(), inVariable);
  assert.deepEqual(fromEnv.addr, { host: "10.0.0.1", port: 1 });
  assert.deepEqual(fromEnv.advertise, { host: "10.0.0.2", port: 2 });
  assert.deepEqual([fromEnv.name, fromEnv.tags, fromEnv.insecureHttp], [
    "variable",
    ["a", "b"],
    true,
  ]);

  const flags = {
    server: "https://box.example.com/",
    token: inFlag,
    addr: ":7700",
    advertise: "box.example.com",
    name: "flag",
    tag: ["c"],
  };
  const fromFlags = await read(flags, env);
  assert.equal(fromFlags.server?.href, "https://box.example.com");
  assert.equal(formatEnrollToken(fromFlags.enrollToken!).reveal(), inFlag);
  assert.deepEqual(fromFlags.addr, { host: "", port: 7700 });
  assert.deepEqual(fromFlags.advertise, { host: "box.example.com", port: 7600 });
  assert.deepEqual([fromFlags.name, fromFlags.tags], ["flag", ["c"]]);
  assert.match(fromFlags.warnings[0]!, /--token shows in `ps`/);
  assert.ok(!JSON.stringify(fromFlags).includes(inFlag.slice(7, 20)), "the secret is no text");
});

Deno.test("the token also comes by a file and by stdin", async () => {
  const given = token(), file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, `${given}\n`);
  for (
    const settings of [
      await read({ tokenFile: file }),
      await read({ tokenFile: "-" }, {}, { stdin: `  ${given}\n` }),
    ]
  ) {
    assert.equal(formatEnrollToken(settings.enrollToken!).reveal(), given);
  }
  await Deno.remove(file);
});

Deno.test("a token that was left in the home is taken where no other is given, if it is private", async () => {
  const left = token(), given = token(), home = await Deno.makeTempDir();
  const env = { OPENBOX_HOME: home }, path = `${home}/agent/enroll_token`;
  await Deno.mkdir(`${home}/agent`, { mode: 0o700 });
  await Deno.writeTextFile(path, `${left}\n`, { mode: 0o600 });
  const settings = await read({}, env);
  assert.equal(settings.enrollTokenPath, path);
  assert.equal(formatEnrollToken(settings.enrollToken!).reveal(), left);
  const other = await read({}, { ...env, OPENBOX_ENROLL_TOKEN: given });
  assert.equal(formatEnrollToken(other.enrollToken!).reveal(), given);
  await Deno.chmod(path, 0o644);
  await assert.rejects(read({}, env), { code: "unsafe_file" });
  await Deno.remove(home, { recursive: true });
});

Deno.test("what cannot be meant is refused, and its flag or variable named", async () => {
  const bad: [AgentFlags, Record<string, string>, RegExp][] = [
    [{ server: "box.example.com" }, {}, /--server/],
    [{}, { OPENBOX_SERVER: "ftp://x" }, /OPENBOX_SERVER/],
    [{ addr: "1.2.3.4:99999" }, {}, /--addr/],
    [{}, { OPENBOX_AGENT_ADDR: "a b" }, /OPENBOX_AGENT_ADDR/],
    [{ advertise: "0.0.0.0:7600" }, {}, /--advertise/],
    [{ advertise: "10.0.0.1:0" }, {}, /--advertise/],
    [{ name: "-x" }, {}, /--name/],
    [{ tag: ["a b"] }, {}, /--tag/],
    [{ token: "obx_0123456789" }, {}, /--token: this token is a person's/],
    [{}, { OPENBOX_ENROLL_TOKEN: "enroll_0123" }, /OPENBOX_ENROLL_TOKEN: this is not/],
  ];
  for (const [flags, env, message] of bad) {
    await assert.rejects(read(flags, env), { code: "bad_setting", message }, String(message));
  }
  await assert.rejects(read({ tokenFile: "/no/such" }), { code: "bad_file" });
});
