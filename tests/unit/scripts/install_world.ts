/** install.sh of a release, run by a shell on a PATH that holds what it is given, into a folder of its own. */
import assert from "node:assert/strict";
import { findProgram } from "../../fixtures/component.ts";
import { makeInstaller, type Mirror, openMirror, tinyExecutable } from "../../fixtures/release.ts";

/** As words: the shell that reads install.sh. */
export const SHELLS: readonly (readonly string[])[] = [["dash"], ["bash"], ["busybox", "sh"]];

/** Those that take their tools from PATH: a static busybox takes its own before any there. */
export const PATH_SHELLS = SHELLS.filter(([shell]) => shell !== "busybox");

const TOOLS = [
  ...["cat", "chmod", "cp", "date", "getconf", "grep", "gzip", "ln", "mkdir", "mktemp", "mv", "rm"],
  ...["sh", "sleep", "tar", "tr", "uname", "wc"],
];
const USUAL = ["curl", "ssh-keygen", "sha256sum"];

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly shell?: readonly string[];
  /** Words after install.sh. */
  readonly args?: readonly string[];
  /** What goes to the shell's stdin in the place of the file, as `curl … | sh` has it. */
  readonly piped?: string;
  readonly uid?: number;
}
export interface Ran {
  readonly code: number;
  readonly stderr: string;
}

export interface InstallWorld extends AsyncDisposable {
  readonly mirror: Mirror;
  readonly folder: string;
  readonly home: string;
  /** OPENBOX_BIN_DIR, which is there and empty. */
  readonly binDir: string;
  readonly target: string;
  /** The PATH. */
  readonly tools: string;
  /** Puts a stand-in on the PATH, or takes a program away. */
  program(name: string, script: string | undefined): Promise<void>;
  writeInstaller(text: string): Promise<void>;
  run(options?: RunOptions): Promise<Ran>;
  /** Fails unless it refuses with this on stderr. */
  refuses(why: RegExp, options?: RunOptions): Promise<Ran>;
  /** The names in the folder where openbox goes. */
  installed(): string[];
  /** What the openbox there is, by its bytes. */
  assertIs(version: string): Promise<void>;
}

export async function openInstallWorld(
  { tools = USUAL }: { readonly tools?: readonly string[] } = {},
): Promise<InstallWorld> {
  const folder = await Deno.makeTempDir(), mirror = openMirror();
  const at = (name: string) => `${folder}/${name}`;
  const [home, binDir, path, script] = [at("home"), at("bin"), at("path"), at("install.sh")];
  for (const made of [home, binDir, path]) await Deno.mkdir(made);
  await Deno.chmod(folder, 0o755);
  for (const tool of [...TOOLS, ...tools]) {
    const found = findProgram(tool);
    if (found) await Deno.symlink(found, `${path}/${tool}`);
  }
  mirror.publish({ version: "1.2.3" });
  await Deno.writeTextFile(script, makeInstaller(mirror.key));

  const world: InstallWorld = {
    mirror,
    folder,
    home,
    binDir,
    target: `${binDir}/openbox`,
    tools: path,
    async program(name, script) {
      await Deno.remove(`${path}/${name}`).catch(() => {});
      if (script !== undefined) {
        await Deno.writeTextFile(`${path}/${name}`, script, { mode: 0o755 });
      }
    },
    writeInstaller: (text) => Deno.writeTextFile(script, text),
    async run({ env = {}, shell = ["dash"], args = [], piped, uid } = {}) {
      const [command, ...words] = shell;
      const child = new Deno.Command(findProgram(command!)!, {
        args: [...words, ...(piped === undefined ? [script] : ["-s", "--"]), ...args],
        cwd: folder,
        clearEnv: true,
        env: {
          PATH: path,
          HOME: home,
          OPENBOX_BASE_URL: mirror.url,
          OPENBOX_BIN_DIR: binDir,
          ...env,
        },
        ...(uid === undefined ? {} : { uid, gid: uid }),
        stdin: piped === undefined ? "null" : "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const fed = piped === undefined ? undefined : feed(child.stdin, piped);
      const { code, stdout, stderr } = await child.output();
      await fed;
      assert.equal(new TextDecoder().decode(stdout), "", "stdout is for nothing");
      return { code, stderr: new TextDecoder().decode(stderr) };
    },
    async refuses(why, options) {
      const ran = await world.run(options);
      assert.notEqual(ran.code, 0, ran.stderr);
      assert.match(ran.stderr, /^openbox install: /m);
      assert.match(ran.stderr, why);
      return ran;
    },
    installed: () => [...Deno.readDirSync(binDir)].map(({ name }) => name).sort(),
    async assertIs(version) {
      assert.equal(await Deno.readTextFile(`${binDir}/openbox`), tinyExecutable(version));
    },
    async [Symbol.asyncDispose]() {
      await mirror[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
  return world;
}

async function feed(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  await writer.write(new TextEncoder().encode(text)).then(() => writer.close())
    .catch(() => {}); // it ended before it had read all
}
