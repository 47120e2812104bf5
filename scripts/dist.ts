/** What scripts/dist runs: from a checkout to the files of a release in dist/release. */
// deno-lint-ignore-file no-console -- a script's output
import { SIGNATURE, STATEMENT } from "../src/release/statement.ts";
import { Secret } from "../src/secret.ts";
import { makeDist, SBOM, SYSTEMS, UNSIGNED } from "./release/dist.ts";
import { findRepository } from "./release/repository.ts";
import { makeSbom } from "./release/sbom.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname);

interface Wanted {
  readonly out: string;
  readonly repository: string | undefined;
  readonly executables: string | undefined;
}

function readArguments(args: readonly string[]): Wanted {
  const values: Record<string, string | undefined> = {
    "--out": `${ROOT}dist/release`,
    "--repository": undefined,
    "--executables": undefined,
  };
  for (let at = 0; at < args.length; at += 2) {
    const [flag, value] = [args[at]!, args[at + 1]];
    if (!Object.hasOwn(values, flag) || !value) {
      throw new Error(
        "usage: scripts/dist [--out FOLDER] [--repository OWNER/NAME] [--executables FOLDER]",
      );
    }
    values[flag] = value;
  }
  const { "--out": out, "--repository": repository, "--executables": executables } = values;
  return { out: out!, repository, executables };
}

async function output(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd: ROOT,
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (success) return text(stdout);
  throw new Error(`${command} ${args.slice(0, 2).join(" ")} failed: ${text(stderr)}`);
}

/** Of all systems, from `folder` or built anew. */
async function readExecutables(
  folder: string | undefined,
  repository: string | undefined,
): Promise<Map<string, Uint8Array>> {
  const built = folder ?? await Deno.makeTempDir({ prefix: "openbox-dist-" });
  try {
    if (folder === undefined) {
      const named = repository === undefined ? [] : ["--repository", repository];
      await output("sh", "scripts/build", "--target", "all", "--out", built, ...named);
    }
    const systems = Object.keys(SYSTEMS);
    return new Map(
      await Promise.all(
        systems.map(async (system) =>
          [system, await Deno.readFile(`${built}/openbox-${system}`)] as const
        ),
      ),
    );
  } finally {
    if (folder === undefined) await Deno.remove(built, { recursive: true });
  }
}

async function dist({ out, executables, ...wanted }: Wanted, releaseKey: Secret | undefined) {
  const repository = wanted.repository ?? await findRepository(ROOT);
  const read = (path: string) => Deno.readTextFile(ROOT + path);
  if (releaseKey && await output("git", "status", "--porcelain") !== "") {
    throw new Error("something in the checkout is not committed: it is not signed");
  }
  const { version } = JSON.parse(await read("deno.json"));
  const commit = await output("git", "rev-parse", "--verify", "HEAD");
  const committedAt = 1000 * Number(await output("git", "show", "-s", "--format=%ct", commit));
  const graph = JSON.parse(await output(Deno.execPath(), "info", "--json", "main.ts"));
  const deno = (await read(".deno-version")).trim();
  const lock = JSON.parse(await read("deno.lock"));
  const files = makeDist({
    version,
    commit,
    repository,
    executables: await readExecutables(executables, repository),
    installer: await read("install.sh"),
    sbom: makeSbom({ version, commit, committedAt, deno, graph, lock }),
    keys: await read("src/release/release_keys.txt"),
    releaseKey,
    now: Date.now(),
  });
  await makeEmpty(out);
  for (const [name, bytes] of files) await Deno.writeFile(`${out}/${name}`, bytes);
  for (const [name, bytes] of files) {
    if (name.endsWith(".tar.gz")) console.log(`${name}: ${(bytes.length / 1e6).toFixed(1)} MB`);
  }
  console.log(`${out}: ${files.size} files, ${STATEMENT} and ${SBOM} among them`);
  if (!files.has(SIGNATURE)) console.error(new TextDecoder().decode(files.get(UNSIGNED)).trim());
}

/** What an earlier run made goes; a folder of anything else is left alone. */
async function makeEmpty(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  if (names.length > 0 && !names.includes(STATEMENT)) {
    throw new Error(`${folder} has other files in it: name an empty folder`);
  }
  for (const name of names) await Deno.remove(`${folder}/${name}`);
}

const pem = Deno.env.get("OPENBOX_RELEASE_KEY");
Deno.env.delete("OPENBOX_RELEASE_KEY"); // what builds the executables does not get it
try {
  await dist(readArguments(Deno.args), pem ? new Secret(pem) : undefined);
} catch (error) {
  console.error(`scripts/dist: ${(error as Error).message}`);
  Deno.exit(1);
}
