import assert from "node:assert/strict";
import { parseAgentRules, readAgentRules } from "../../../src/agent/rules.ts";

const PATH = "/box/agent/agent.toml";
const parse = (text: string) => parseAgentRules(text, PATH);

Deno.test("without a file ordinary work goes on, and nothing of the node is given away", async () => {
  const dir = await Deno.makeTempDir();
  assert.deepEqual(await readAgentRules(`${dir}/agent.toml`), {
    path: `${dir}/agent.toml`,
    isolations: ["native", "docker", "nspawn"],
    runAs: undefined,
    logins: [],
    commandPath: undefined,
    mounts: [],
    nets: { native: ["host"], docker: ["bridge", "none"], nspawn: ["host", "none"] },
    caps: {},
    gpus: true,
    trees: ["/var/lib/machines"],
    untrusted: false,
    revocation: "hard",
    onRevoke: "kill",
    toldCommand: "program",
  });
  await Deno.remove(dir);
});

Deno.test("every key is read", () => {
  assert.deepEqual(
    parse(`
      isolations = ["docker"]
      run_as = "build"
      logins = ["deploy"]
      path = "/opt/bin:/bin"
      mounts = ["/srv/data", "/srv/ref/:ro"]
      nets = ["none", "host"]
      gpus = false
      revocation = "soft"
      on_revoke = "keep"
      [caps]
      memory = "4g"
      cpus = 1.5
      pids = 100
      [docker]
      untrusted = true
      [nspawn]
      trees = ["/srv/trees"]
      [audit]
      command = "hash"
    `),
    {
      path: PATH,
      isolations: ["docker"],
      runAs: "build",
      logins: ["deploy"],
      commandPath: "/opt/bin:/bin",
      mounts: [
        { source: "/srv/data", readOnly: false },
        { source: "/srv/ref", readOnly: true },
      ],
      nets: { native: ["host"], docker: ["none", "host"], nspawn: ["host", "none"] },
      caps: { memoryBytes: 4 * 2 ** 30, cpus: 1.5, pids: 100 },
      gpus: false,
      trees: ["/srv/trees"],
      untrusted: true,
      revocation: "soft",
      onRevoke: "keep",
      toldCommand: "hash",
    },
  );
});

Deno.test("what is not known, or of another type, is refused with its line", () => {
  const cases: [string, RegExp][] = [
    ["gpus = true\nlogin = []\n", /agent\.toml:2: there is no key login/],
    ["[caps]\nmemory = '1g'\ndisk = 1", /agent\.toml:3: there is no key caps\.disk/],
    ["[docker]\nimages = []", /:2: there is no key docker\.images/],
    ["[other]\nx = 1", /:1: there is no key other/],
    ["__proto__ = 1", /there is no key __proto__/],
    ["isolations = [\"native\", 'podman']", /:1: isolations: .*podman.* none of native, docker/],
    ['isolations = "native"', /:1: isolations: it must be a list in brackets/],
    ["run_as = 0", /:1: run_as: it must be a text in quotes/],
    ['run_as = "0"', /:1: run_as: "0" is no name of a login/],
    ['logins = ["a", "b c"]', /:1: logins: "b c" is no name/],
    ['mounts = ["data"]', /:1: mounts: "data" is no \/PATH/],
    ['mounts = ["/a:/b"]', /:1: mounts: "\/a:\/b" is no/],
    ['nets = ["ipvlan"]', /:1: nets: .*ipvlan.* none of bridge, none, host/],
    ["\n[caps]\nmemory = 4", /:3: caps\.memory: it must be a size in quotes/],
    ['[caps]\nmemory = "lots"', /:2: caps\.memory: it must be a size/],
    ["[caps]\npids = 0", /:2: caps\.pids: 1 or more/],
    ["caps = { cpus = nan }", /caps\.cpus: /],
    ['gpus = "yes"', /:1: gpus: it must be true or false/],
    ["docker = true", /:1: docker: it must be a table/],
    ['[nspawn]\ntrees = ["rel"]', /:2: nspawn\.trees: "rel" is no absolute path/],
    ['[nspawn]\ntrees = ["/a/../etc"]', /is no absolute path/],
    ['path = "/bin:rel"', /:1: path: /],
    ["gpus = true\ngpus = false", /agent\.toml:2: /],
    ["gpus = maybe", /agent\.toml:1: /],
    ["[caps", /agent\.toml:1: /],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parse(text), { code: "bad_setting", message }, text);
  }
});

Deno.test("a file that others may write is refused, one that they may read is not", async () => {
  const dir = await Deno.makeTempDir(), path = `${dir}/agent.toml`;
  await Deno.writeTextFile(path, "gpus = false\n", { mode: 0o644 });
  assert.equal((await readAgentRules(path)).gpus, false);
  await Deno.chmod(path, 0o664);
  await assert.rejects(readAgentRules(path), { code: "unsafe_file", hint: /chmod go-w / });
  await Deno.chmod(path, 0o600);
  await Deno.chmod(dir, 0o777);
  await assert.rejects(readAgentRules(path), { code: "unsafe_file" });
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the example of the documentation is a file that is taken, with every key", async () => {
  const page = await Deno.readTextFile(new URL("../../../docs/agent-settings.md", import.meta.url));
  const [, example] = /```toml\n([^]*?)```/.exec(page)!;
  const rules = parse(example!);
  assert.equal(rules.runAs, "build");
  for (const key of ["isolations", "logins", "path", "mounts", "nets", "gpus", "memory", "cpus"]) {
    assert.match(example!, new RegExp(`^${key} = `, "m"), key);
  }
});
