/** What scripts/build runs. It ends with 1, and says why, when anything is not as it should be. */
// deno-lint-ignore-file no-console -- a script's output
import { type BuildForm, bundle } from "./bundle.ts";
import { compile } from "./compiled.ts";
import { executable } from "./executable.ts";
import { isRepository } from "../src/release/source.ts";
import { findRepository } from "./release/repository.ts";
import { tooOld } from "./minimum_versions.ts";
import { isTarget, ownTarget, readRuntime, type Target, TARGETS } from "./runtime.ts";

/** Names are the file's, in `out`: `openbox` for this machine, `openbox-TARGET` where a target was asked for. */
interface Wanted {
  readonly targets: readonly { readonly target: Target; readonly name: string }[];
  readonly out: string;
  readonly form: BuildForm;
  readonly repository: string | undefined;
}

const USAGE = `usage: scripts/build [--target ${
  TARGETS.join("|")
}|all] [--form offline|compiled] [--out FOLDER] [--repository OWNER/NAME]`;

function readArguments(args: readonly string[]): Wanted {
  const values = { "--target": "", "--form": "offline", "--out": "dist", "--repository": "" };
  for (let at = 0; at < args.length; at += 2) {
    const [flag, value] = [args[at]!, args[at + 1]];
    if (!Object.hasOwn(values, flag) || !value) throw new Error(USAGE);
    values[flag as keyof typeof values] = value;
  }
  const { "--target": target, "--form": form, "--out": out } = values;
  if (form !== "offline" && form !== "compiled") throw new Error(USAGE);
  const repository = values["--repository"] || undefined;
  if (repository !== undefined && !isRepository(repository)) throw new Error(USAGE);
  if (target === "") {
    return { targets: [{ target: ownTarget(), name: "openbox" }], out, form, repository };
  }
  const asked = target === "all" ? TARGETS : [target].filter(isTarget);
  if (asked.length === 0) throw new Error(USAGE);
  return {
    targets: asked.map((target) => ({ target, name: `openbox-${target}` })),
    out,
    form,
    repository,
  };
}

/** Of the checkout, `-changed` behind it when something in it is not committed; null where git knows nothing. */
async function readCommit(root: string): Promise<string | null> {
  const git = async (...args: string[]) => {
    const { success, stdout } = await new Deno.Command("git", { args: ["-C", root, ...args] })
      .output().catch(() => ({ success: false, stdout: new Uint8Array() }));
    return success ? new TextDecoder().decode(stdout).trim() : null;
  };
  const commit = await git("rev-parse", "--verify", "HEAD");
  if (commit === null || await git("rev-parse", "--show-prefix") !== "") return null;
  return await git("status", "--porcelain") === "" ? commit : `${commit}-changed`;
}

async function build({ targets, out, form, ...wanted }: Wanted, root: string): Promise<void> {
  const denoVersion = (await Deno.readTextFile(`${root}/.deno-version`)).trim();
  const { version } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  const old = tooOld(await Deno.readTextFile(`${root}/deno.lock`));
  if (old.length > 0) throw new Error(old.join("; "));
  const commit = await readCommit(root);
  const repository = wanted.repository ?? await findRepository(root) ?? null;
  const files = await bundle({ root, form, commit, repository });
  await Deno.mkdir(out, { recursive: true });
  for (const { target, name } of targets) {
    const bytes = form === "compiled" ? await compile(files, target) : await executable({
      ...{ root, target, version, bundle: files },
      runtime: await readRuntime(target, { version: denoVersion, cache: `${root}/.deno` }),
    });
    const path = `${out}/${name}`;
    // the rename: one that is running now goes on with the old file
    await Deno.writeFile(`${path}.new`, bytes, { mode: 0o755 });
    await Deno.rename(`${path}.new`, path);
    console.log(`${path}: ${target}, ${(bytes.length / 1e6).toFixed(1)} MB`);
    if (target === ownTarget()) console.log(await measureStart(await Deno.realPath(path)));
  }
}

const STARTS = 15;

/** How long `version` takes beside a Deno that runs nothing, in turn. */
async function measureStart(path: string): Promise<string> {
  const directory = await Deno.makeTempDir({ prefix: "openbox-start-" });
  try {
    const env = { OPENBOX_CACHE: `${directory}/cache`, OPENBOX_HOME: `${directory}/home` };
    const empty = `${directory}/empty.js`;
    await Deno.writeTextFile(empty, "");
    const first = await time(path, ["version"], env);
    await time(path, ["version"], env); // writes the code cache
    const own: number[] = [], bare: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      bare.push(await time(Deno.execPath(), ["run", "--no-config", empty], env));
      own.push(await time(path, ["version"], env));
    }
    const [ownMs, bareMs] = [median(own), median(bare)];
    return `  first start ${first.toFixed(0)} ms, then ${
      ownMs.toFixed(1)
    } ms for \`version\`; a bare Deno ${bareMs.toFixed(1)} ms`;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function time(path: string, args: string[], env: Record<string, string>): Promise<number> {
  const began = performance.now();
  const { success, stderr } = await new Deno.Command(path, { args, env, stdin: "null" }).output();
  if (!success) throw new Error(`${path} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return performance.now() - began;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1]!;

try {
  const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
  await build(readArguments(Deno.args), decodeURIComponent(root));
} catch (error) {
  console.error(`scripts/build: ${(error as Error).message}`);
  Deno.exit(1);
}
