import assert from "node:assert/strict";
import { text, utf8 } from "../../../src/bytes.ts";
import { parseReleaseKeys } from "../../../src/release/keys.ts";
import { tarballName } from "../../../src/release/source.ts";
import { SIGNATURE, STATEMENT } from "../../../src/release/statement.ts";
import { findRelease, installRelease } from "../../../src/release/upgrade.ts";
import { Secret } from "../../../src/secret.ts";
import { generateKey, privatePem } from "../../../src/ssh/key.ts";
import {
  type DistOptions,
  makeDist,
  SBOM,
  SYSTEMS,
  UNSIGNED,
} from "../../../scripts/release/dist.ts";
import { repositoryOf } from "../../../scripts/release/repository.ts";
import { type Graph, type Lock, makeSbom } from "../../../scripts/release/sbom.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { COMMIT, keyLine, tinyExecutable } from "../../fixtures/release.ts";
import { openInstallWorld } from "./install_world.ts";

const ROOT = decodeURIComponent(new URL("../../../", import.meta.url).pathname);
const key = generateKey();
const installer = await Deno.readTextFile(`${ROOT}install.sh`);

const options = (changes: Partial<DistOptions> = {}): DistOptions => ({
  version: "2.0.0",
  commit: COMMIT,
  repository: "owner/openbox",
  executables: new Map(
    Object.keys(SYSTEMS).map((system) => [system, utf8(tinyExecutable("2.0.0"))]),
  ),
  installer,
  sbom: "{}\n",
  keys: keyLine(key),
  releaseKey: new Secret(privatePem(key)),
  now: Date.now(),
  ...changes,
});

Deno.test("a release has a tarball and a checksum for each system, and what vouches for them", () => {
  assert.deepEqual([...makeDist(options()).keys()].sort(), [
    "install.sh",
    ...["darwin-amd64", "darwin-arm64", "linux-amd64", "linux-arm64"].flatMap((system) => [
      `openbox-${system}.tar.gz`,
      `openbox-${system}.tar.gz.sha256`,
    ]),
    STATEMENT,
    SIGNATURE,
    SBOM,
  ]);
});

Deno.test("INS-8: the same executables make the same release", () => {
  assert.deepEqual(makeDist(options()), makeDist(options()));
});

Deno.test(
  "what dist makes is installed by its install.sh, and replaced by openbox upgrade",
  requireComponent("dash", "curl", "ssh-keygen"),
  async () => {
    await using world = await openInstallWorld();
    const publish = (version: string) => {
      const executables = new Map(
        Object.keys(SYSTEMS).map((system) => [system, utf8(tinyExecutable(version))]),
      );
      const files = makeDist(options({ version, executables }));
      for (const [name, bytes] of files) {
        world.mirror.files.set(`/latest/download/${name}`, bytes);
        world.mirror.files.set(`/download/v${version}/${name}`, bytes);
      }
      return files;
    };
    await world.writeInstaller(text(publish("2.0.0").get("install.sh")!));
    const ran = await world.run();
    assert.equal(ran.code, 0, ran.stderr);
    await world.assertIs("2.0.0");
    publish("2.1.0");
    const base = world.mirror.url, keys = parseReleaseKeys(keyLine(key));
    const release = await findRelease({ base, keys, now: Date.now() });
    const to = { base, executable: world.target, tarball: tarballName(Deno.build) };
    await installRelease(release, { ...to, answerMs: 10_000 });
    await world.assertIs("2.1.0");
  },
);

Deno.test(
  "INS-2: a build without a key says that it is unsigned, and its install.sh refuses it",
  requireComponent("dash", "curl", "ssh-keygen"),
  async () => {
    for (
      const [changes, why] of [
        [{ keys: "# none\n", releaseKey: undefined }, /has no key/],
        [{ releaseKey: undefined }, /OPENBOX_RELEASE_KEY was not set/],
      ] as const
    ) {
      const files = makeDist(options(changes));
      assert.equal(files.has(SIGNATURE), false);
      assert.match(text(files.get(UNSIGNED)!), why);
      await using world = await openInstallWorld();
      for (const [name, bytes] of files) world.mirror.files.set(`/latest/download/${name}`, bytes);
      world.mirror.files.delete(`/latest/download/${SIGNATURE}`);
      await world.writeInstaller(text(files.get("install.sh")!));
      await world.refuses(/has no release key|cannot download .*\.sig/);
      assert.deepEqual(world.installed(), []);
    }
  },
);

Deno.test("INS-2: a key that nobody would believe signs nothing", () => {
  const other = new Secret(privatePem(generateKey()));
  for (
    const changes of [
      { releaseKey: other },
      { keys: "# none\n" },
      { keys: keyLine(key, "2020-01-01") },
      { releaseKey: new Secret("no key") },
      { releaseKey: new Secret(privatePem(key) + other.reveal()) },
      { version: "2.0" },
      { repository: "owner/name'; id; '" },
      { executables: new Map([["plan9-x64", utf8("x")]]) },
    ]
  ) {
    assert.throws(() => makeDist(options(changes)), (error: Error) => {
      assert.doesNotMatch(error.message, /PRIVATE KEY/);
      return true;
    });
  }
});

Deno.test("INS-8: the SBOM names each package that the program has, with the hash of the lock", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "main.ts"],
    cwd: ROOT,
  }).output();
  const graph: Graph = JSON.parse(text(stdout));
  const lock: Lock = JSON.parse(await Deno.readTextFile(`${ROOT}deno.lock`));
  const about = { version: "2.0.0", commit: COMMIT, committedAt: 0, deno: "2.9.6" };
  const sbom = makeSbom({ ...about, graph, lock });
  assert.equal(makeSbom({ ...about, graph, lock }), sbom);
  const { components, dependencies, serialNumber } = JSON.parse(sbom);
  assert.match(serialNumber, /^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  const refs: string[] = components.map((component: Record<string, string>) =>
    component["bom-ref"]
  );
  assert.equal(new Set(refs).size, refs.length);
  for (
    const wanted of [
      "pkg:npm/ssh2@1.17.0",
      "pkg:npm/%40stricli/core@1.3.0",
      "pkg:github/denoland/deno@v2.9.6",
    ]
  ) {
    assert.ok(refs.includes(wanted), wanted);
  }
  assert.ok(!refs.some((ref) => ref.includes("fast-check")), "what only tests use is not in it");
  for (const { dependsOn } of dependencies) {
    for (const ref of dependsOn) assert.ok(refs.includes(ref), ref);
  }
  assert.throws(() => makeSbom({ ...about, graph, lock: { npm: {} } }), /no SHA-512 of/);
});

Deno.test("the repository is read from a remote on GitHub, in each form that git takes", () => {
  for (
    const [remote, repository] of [
      ["https://github.com/owner/na.me.git", "owner/na.me"],
      ["https://github.com/owner/name/", "owner/name"],
      ["git@github.com:owner/name.git", "owner/name"],
      ["ssh://git@github.com/owner/name", "owner/name"],
      ["https://example.com/owner/name", undefined],
      ["https://github.com.example.com/owner/name", undefined],
      ["https://github.com/owner/name/more", undefined],
      ["https://github.com/owner/$(id)", undefined],
      ["/srv/git/openbox", undefined],
    ] as const
  ) {
    assert.equal(repositoryOf(remote), repository, remote);
  }
});

Deno.test("scripts/dist makes a release of executables that are there", async () => {
  const folder = await Deno.makeTempDir();
  const run = async (args: readonly string[], env: Record<string, string> = {}) => {
    const { code, stderr } = await new Deno.Command("sh", {
      args: [`${ROOT}scripts/dist`, ...args],
      env: { DENO_DIR: Deno.env.get("DENO_DIR") ?? `${ROOT}.deno/cache`, ...env },
      stdin: "null",
      stdout: "null",
    }).output();
    return { code, stderr: text(stderr) };
  };
  try {
    for (const system of Object.keys(SYSTEMS)) {
      await Deno.writeTextFile(`${folder}/openbox-${system}`, tinyExecutable("0.0.0"));
    }
    const args = ["--executables", folder, "--repository", "owner/openbox"];
    const made = await run([...args, "--out", `${folder}/out`]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stderr, /This build is not signed/);
    const { version } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
    const stamped = await Deno.readTextFile(`${folder}/out/install.sh`);
    assert.match(stamped, new RegExp(`release_version='${version}'`));
    assert.equal(
      (await run([...args, "--out", `${folder}/out`])).code,
      0,
      "once more into the same",
    );
    const refused = await run([...args, "--out", folder]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /has other files in it/);
    const wrong = await run(args.slice(0, 1));
    assert.match(wrong.stderr, /usage: scripts\/dist/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
