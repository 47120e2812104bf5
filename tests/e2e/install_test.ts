/** Executables as they are built, with a release key of the test's own: installed, upgraded, removed. */
import assert from "node:assert/strict";
import { bundle } from "../../scripts/bundle.ts";
import { executable } from "../../scripts/executable.ts";
import { makeDist } from "../../scripts/release/dist.ts";
import { ownTarget } from "../../scripts/runtime.ts";
import { text, utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import { generateKey, privatePem } from "../../src/ssh/key.ts";
import { requireComponent } from "../fixtures/component.ts";
import { ROOT } from "../fixtures/openbox.ts";
import { COMMIT, keyLine, openMirror } from "../fixtures/release.ts";
import { runProgram } from "./program.ts";

const key = generateKey();

/** The sources with another version and our key, in a folder of their own. */
async function copySources(folder: string, version: string): Promise<string> {
  const root = `${folder}/${version}`;
  await Deno.mkdir(root);
  const names = ["main.ts", "src", "scripts", "deno.json", "deno.lock", "install.sh"];
  const { code, stderr } = await runProgram(
    "/bin/cp",
    ["-R", ...names.map((name) => ROOT + name), root],
    { env: {}, cwd: folder },
  );
  assert.equal(code, 0, stderr);
  const change = async (file: string, by: (text: string) => string) =>
    await Deno.writeTextFile(`${root}/${file}`, by(await Deno.readTextFile(`${root}/${file}`)));
  await change("src/version.ts", (text) => text.replace(/(VERSION = )"[^"]*"/, `$1"${version}"`));
  await change("src/release/release_keys.txt", () => keyLine(key));
  return root;
}

async function buildRelease(folder: string, version: string): Promise<Map<string, Uint8Array>> {
  const root = await copySources(folder, version), target = ownTarget();
  // all is real but Deno, which would take half a minute to pack: here it is where it is
  const runtime = utf8(`#!/bin/sh\nexec '${Deno.execPath()}' "$@"\n`);
  const files = await bundle({
    root,
    form: "offline",
    commit: COMMIT,
    repository: "owner/openbox",
  });
  const built = await executable({ root, target, version, runtime, bundle: files });
  return makeDist({
    version,
    commit: COMMIT,
    repository: "owner/openbox",
    executables: new Map([[target, built]]),
    installer: await Deno.readTextFile(`${root}/install.sh`),
    sbom: "{}\n",
    keys: keyLine(key),
    releaseKey: new Secret(privatePem(key)),
    now: Date.now(),
  });
}

Deno.test(
  "INS-6: a built openbox is installed, replaces itself by a newer release, goes back to none older, and is removed",
  requireComponent("curl", "ssh-keygen"),
  async () => {
    const folder = await Deno.makeTempDir();
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const mirror = stack.use(openMirror());
    const publish = (version: string, files: ReadonlyMap<string, Uint8Array>) => {
      for (const [name, bytes] of files) {
        mirror.files.set(`/latest/download/${name}`, bytes);
        mirror.files.set(`/download/v${version}/${name}`, bytes);
      }
    };
    const bin = `${folder}/bin`, openbox = `${bin}/openbox`;
    const env = {
      PATH: "/usr/bin:/bin",
      HOME: folder,
      OPENBOX_CACHE: `${folder}/cache`,
      OPENBOX_BIN_DIR: bin,
      OPENBOX_BASE_URL: mirror.url,
    };
    const run = (...args: string[]) => runProgram(openbox, args, { env, cwd: folder });
    const shell = (...args: string[]) =>
      runProgram("/bin/sh", [`${folder}/install.sh`, ...args], { env, cwd: folder });

    const older = await buildRelease(folder, "0.1.0");
    publish("0.1.0", older);
    await Deno.writeTextFile(`${folder}/install.sh`, text(older.get("install.sh")!));
    const installed = await shell();
    assert.equal(installed.code, 0, installed.stderr);
    const { version, build, commit } = JSON.parse((await run("version", "--json")).stdout);
    assert.deepEqual([version, build, commit], ["0.1.0", "offline", COMMIT]);
    assert.equal((await run("upgrade")).stdout, "openbox 0.1.0 is up to date\n");

    publish("0.2.0", await buildRelease(folder, "0.2.0"));
    const checked = JSON.parse((await run("upgrade", "--check", "--json")).stdout);
    assert.deepEqual(checked, {
      version: "0.1.0",
      release: "0.2.0",
      newer: true,
      upgraded: false,
      kept: null,
    });
    const upgraded = await run("upgrade");
    assert.equal(upgraded.code, 0, upgraded.stderr);
    assert.match(upgraded.stdout, /^openbox 0\.2\.0 has taken the place of 0\.1\.0$/m);
    assert.match(upgraded.stderr, /openbox service status/);
    assert.equal((await run("version")).stdout, "openbox 0.2.0\n");
    const names = () => [...Deno.readDirSync(bin)].map(({ name }) => name).sort();
    assert.deepEqual(names(), [".openbox.old", "openbox"]);

    const back = await run("upgrade", "--version", "0.1.0");
    assert.equal(back.code, 5);
    assert.match(back.stderr, /is older[^]*OPENBOX_VERSION=0\.1\.0 sh install\.sh/);
    assert.equal((await run("version")).stdout, "openbox 0.2.0\n");

    const removed = await shell("uninstall");
    assert.equal(removed.code, 0, removed.stderr);
    assert.deepEqual(names(), []);
  },
);
