import assert from "node:assert/strict";
import { allowRun, type FoundPath, type PathLookup } from "../../../src/agent/policy.ts";
import { parseAgentRules } from "../../../src/agent/rules.ts";
import { openPathLookup } from "../../../src/agent/path_lookup.ts";
import type { OpenboxError } from "../../../src/errors.ts";
import type { Confinement } from "../../../src/isolation/backend.ts";
import { parseMount } from "../../../src/isolation/confinement.ts";
import { parseIsolation } from "../../../src/isolation/spec.ts";

interface Asked {
  /** agent.toml */
  readonly rules?: string;
  readonly spec?: string;
  readonly login?: string;
  readonly confinement?: Confinement;
  readonly lookup?: Partial<PathLookup>;
}

/** A machine: paths and where they lead; a path with `!` is neither a file nor a directory. */
const MACHINE: Record<string, string> = {
  "/srv/data": "/srv/data",
  "/srv/data/a": "/srv/data/a",
  "/srv/data/out": "/etc",
  "/srv/link": "/srv/data/a",
  "/srv/pipe": "!/srv/pipe",
  "/srv/ref": "/srv/ref",
  "/etc": "/etc",
  "/run": "/run",
  "/var/run": "/run",
  "/run/docker.sock": "!/run/docker.sock",
  "/var/run/docker.sock": "!/run/docker.sock",
  "/box/agent": "/box/agent",
  "/box": "/box",
  "/var/lib/machines": "/var/lib/machines",
  "/var/lib/machines/deb": "/var/lib/machines/deb",
  "/var/lib/machines/out": "/",
  "/var/lib/machines/file": "/var/lib/machines/file",
  "/srv/tree": "/var/lib/machines/deb",
};

function find(path: string): Promise<FoundPath | undefined> {
  const real = MACHINE[path];
  if (real === undefined) return Promise.resolve(undefined);
  const kind = real.startsWith("!") ? "other" : real.endsWith("/file") ? "file" : "directory";
  return Promise.resolve({ path: real.replace("!", ""), kind });
}

const LOOKUP: PathLookup = {
  ownLogin: "root",
  isRoot: true,
  kept: ["/box/agent", "/var/run/docker.sock"],
  find,
};

const allow = ({ rules = "", spec = "native", login, confinement = {}, lookup }: Asked) =>
  allowRun(
    { spec: parseIsolation(spec), login, confinement },
    parseAgentRules(rules, "/box/agent/agent.toml"),
    { ...LOOKUP, ...lookup },
  );

async function refused(asked: Asked): Promise<OpenboxError> {
  try {
    await allow(asked);
  } catch (error) {
    return error as OpenboxError;
  }
  throw new assert.AssertionError({ message: `allowed: ${JSON.stringify(asked)}` });
}

Deno.test("ISO-3: an isolation that the owner does not allow is refused, and says the file and the key", async () => {
  const rules = 'isolations = ["docker"]';
  assert.equal((await allow({ rules, spec: "docker:debian" })).spec.kind, "docker");
  const { code, message, hint } = await refused({ rules });
  assert.equal(code, "isolation_not_allowed");
  assert.equal(message, "This node does not allow native commands: docker");
  assert.match(hint!, /isolations in \/box\/agent\/agent\.toml/);
});

Deno.test("ISO-3, EXE-11: a tree lies where trees may lie, wherever a link leads", async () => {
  for (const root of ["/var/lib/machines/deb", "/srv/tree"]) {
    const { spec } = await allow({ spec: `nspawn:${root}` });
    assert.deepEqual(spec, { kind: "nspawn", root: "/var/lib/machines/deb" });
  }
  const cases: [string, string][] = [
    ["/srv/data", "isolation_not_allowed"],
    ["/no/such", "isolation_not_allowed"],
    ["/var/lib/machines/out", "isolation_not_allowed"],
    ["/var/lib/machines2", "isolation_not_allowed"],
    ["/var/lib/machines/none", "isolation_unavailable"],
    ["/var/lib/machines/file", "isolation_unavailable"],
  ];
  for (const [root, code] of cases) {
    assert.equal((await refused({ spec: `nspawn:${root}` })).code, code, root);
  }
  const rules = '[nspawn]\ntrees = ["/srv/data/a"]';
  assert.equal((await allow({ rules, spec: "nspawn:/srv/link" })).spec.kind, "nspawn");
  const { hint } = await refused({ rules, spec: "nspawn:/var/lib/machines/deb" });
  assert.match(hint!, /nspawn\.trees in/);
});

Deno.test("EXE-7, CERT-4: a command runs as whom the owner says, and as no other", async () => {
  const rules = 'run_as = "build"\nlogins = ["deploy"]';
  assert.equal((await allow({})).login, undefined);
  assert.equal((await allow({ login: "root" })).login, undefined);
  assert.equal((await allow({ rules })).login, "build");
  assert.equal((await allow({ rules, login: "build" })).login, "build");
  assert.equal((await allow({ rules, login: "deploy" })).login, "deploy");
  for (
    const asked of [
      { login: "build" },
      { rules, login: "root" },
      { rules, login: "other" },
      { rules, login: "deploy", lookup: { ownLogin: "me", isRoot: false } },
      { rules, lookup: { ownLogin: "me", isRoot: false } },
    ]
  ) {
    assert.equal((await refused(asked)).code, "login_not_allowed", JSON.stringify(asked));
  }
  const { message } = await refused({ rules, login: "other" });
  assert.match(message, /runs no command as other: build, deploy/);
});

Deno.test("--user is for native commands, and run_as too", async () => {
  const rules = 'run_as = "build"';
  assert.equal((await allow({ rules, spec: "docker:debian" })).login, undefined);
  for (const spec of ["docker:debian", "nspawn:/var/lib/machines/deb"]) {
    assert.equal((await refused({ rules, spec, login: "build" })).code, "limit_unsupported");
  }
});

const mounts = (...texts: string[]): Confinement => ({ mounts: texts.map(parseMount) });

Deno.test("ISO-8: nothing is mounted but what the owner allows, wherever a link leads", async () => {
  const rules = 'mounts = ["/srv/data", "/srv/ref:ro"]', spec = "docker:debian";
  const sources = async (...texts: string[]) => {
    const { confinement } = await allow({ rules, spec, confinement: mounts(...texts) });
    return confinement.mounts!.map(({ source, target, readOnly }) => [source, target, readOnly]);
  };
  assert.deepEqual(await sources("/srv/data", "/srv/link:/x:ro", "/srv/ref:ro"), [
    ["/srv/data", "/srv/data", false],
    ["/srv/data/a", "/x", true],
    ["/srv/ref", "/srv/ref", true],
  ]);
  const cases: [string, string][] = [
    ["/etc", "mount_not_allowed"],
    ["/srv", "mount_not_allowed"],
    ["/srv/data2", "mount_not_allowed"],
    ["/srv/data/out", "mount_not_allowed"],
    ["/srv/ref", "mount_not_allowed"],
    ["/srv/data/none", "mount_invalid"],
    ["/no/such", "mount_not_allowed"],
  ];
  for (const [mount, code] of cases) {
    const error = await refused({ rules, spec, confinement: mounts(mount) });
    assert.equal(error.code, code, mount);
  }
  assert.equal((await refused({ spec, confinement: mounts("/etc:ro") })).code, "mount_not_allowed");
  assert.equal((await refused({ rules, confinement: mounts("/etc") })).code, "limit_unsupported");
});

Deno.test("ISO-8: the socket of docker and the agent's own files are never mounted", async () => {
  const rules = 'mounts = ["/run", "/var/run", "/box", "/srv/pipe"]', spec = "docker:debian";
  const never = ["/run", "/var/run", "/box", "/box/agent"];
  for (const path of never) {
    const { code, message } = await refused({ rules, spec, confinement: mounts(path) });
    assert.equal(code, "mount_not_allowed", path);
    assert.match(message, /is never mounted/);
  }
  for (const path of ["/run/docker.sock", "/srv/pipe"]) {
    const { code } = await refused({ rules, spec, confinement: mounts(path) });
    assert.equal(code, "mount_invalid", path);
  }
});

Deno.test("ISO-7: a cap is the most that can be asked for, and what a run has by itself", async () => {
  const rules = '[caps]\nmemory = "1g"\ncpus = 2\npids = 100';
  const held = async (confinement: Confinement) =>
    (await allow({ rules, confinement })).confinement;
  assert.deepEqual(await held({}), { memoryBytes: 2 ** 30, cpus: 2, pids: 100 });
  assert.deepEqual(await held({ memoryBytes: 2 ** 20, cpus: 0.5 }), {
    memoryBytes: 2 ** 20,
    cpus: 0.5,
    pids: 100,
  });
  for (const confinement of [{ memoryBytes: 2 ** 31 }, { cpus: 2.5 }, { pids: 101 }]) {
    assert.equal((await refused({ rules, confinement })).code, "limit_not_allowed");
  }
  const { message, hint } = await refused({ rules, confinement: { memoryBytes: 2 ** 31 } });
  assert.equal(message, "--memory 2g is more than this node allows: at most 1g");
  assert.match(hint!, /caps\.memory in \/box/);
});

Deno.test("a network is the isolation's own, the one asked for, or the next that is allowed", async () => {
  const net = async (spec: string, rules = "", asked?: Confinement["net"]) =>
    (await allow({ spec, rules, confinement: { net: asked } })).confinement.net;
  const tree = "nspawn:/var/lib/machines/deb", docker = "docker:debian";
  assert.equal(await net(docker), "bridge");
  assert.equal(await net(docker, "", "none"), "none");
  assert.equal(await net(docker, 'nets = ["bridge", "host"]', "host"), "host");
  assert.equal(await net(docker, 'nets = ["none"]'), "none");
  assert.equal(await net(tree), "host");
  assert.equal(await net(tree, 'nets = ["bridge", "none"]'), "none");
  const cases: [Asked, string][] = [
    [{ spec: docker, confinement: { net: "host" } }, "limit_not_allowed"],
    [
      { spec: docker, rules: 'nets = ["none"]', confinement: { net: "bridge" } },
      "limit_not_allowed",
    ],
    [{ spec: tree, rules: 'nets = ["bridge"]' }, "limit_not_allowed"],
    [{ spec: tree, confinement: { net: "bridge" } }, "limit_unsupported"],
    [{ confinement: { net: "host" } }, "limit_unsupported"],
  ];
  for (const [asked, code] of cases) {
    assert.equal((await refused(asked)).code, code, JSON.stringify(asked));
  }
});

Deno.test("GPUs and the hardened profile are the owner's to say", async () => {
  const spec = "docker:debian", confinement = { gpus: "all" };
  assert.equal((await allow({ spec, confinement })).confinement.gpus, "all");
  const { code } = await refused({ spec, confinement, rules: "gpus = false" });
  assert.equal(code, "limit_not_allowed");
  const rules = "[docker]\nuntrusted = true";
  assert.equal((await allow({ spec, rules })).confinement.untrusted, true);
  assert.equal((await allow({ rules })).confinement.untrusted, undefined);
});

Deno.test("what was asked for is told by its flags, what the node adds is not", async () => {
  const rules = "[caps]\npids = 100\n", login = "root";
  const { asked } = await allow({ rules, login, confinement: { memoryBytes: 2 ** 30 } });
  assert.deepEqual([...asked], [["--memory", "1g"], ["--user", "root"]]);
});

Deno.test("a path is looked at without its symbolic links", async () => {
  const dir = await Deno.realPath(await Deno.makeTempDir());
  await Deno.mkdir(`${dir}/a`);
  await Deno.symlink(`${dir}/a`, `${dir}/link`);
  await Deno.writeTextFile(`${dir}/a/f`, "");
  await Deno.symlink(`${dir}/nowhere`, `${dir}/broken`);
  const lookup = openPathLookup({ ownLogin: "me", home: dir, agentDir: `${dir}/agent` });
  assert.deepEqual(await lookup.find(`${dir}/link/f`), { path: `${dir}/a/f`, kind: "file" });
  assert.deepEqual(await lookup.find(`${dir}/link`), { path: `${dir}/a`, kind: "directory" });
  assert.equal((await lookup.find("/dev/null"))?.kind, "other");
  for (const path of [`${dir}/none`, `${dir}/a/f/x`, `${dir}/broken`]) {
    assert.equal(await lookup.find(path), undefined, path);
  }
  assert.ok(lookup.kept.includes(`${dir}/agent`));
  await Deno.remove(dir, { recursive: true });
});
