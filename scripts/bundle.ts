/**
 * The program as JavaScript: main.ts with all that it imports before its first `import()` as one file,
 * and behind that the rest, split into files that are loaded when they are needed. What comes out depends
 * on the sources and on nothing else: not on where they lie, and not on where Deno keeps the packages.
 */

/** The hot path, and the file that it loads for everything else. They share no module, only plain values. */
const HOT = "main.ts";
const REST = "./src/cli/process.ts";

/** Native add-ons: ssh2 goes on without them. */
const EXTERNAL = ["cpu-features", "*.node"];

export type BuildForm = "offline" | "compiled";

export interface BundleOptions {
  /** The checkout. */
  readonly root: string;
  readonly form: BuildForm;
  /** Of the sources, as `openbox version --json` tells it. */
  readonly commit: string | null;
  /** OWNER/NAME on GitHub, where `openbox upgrade` looks for releases. */
  readonly repository?: string | null;
}

/** File names with their text; `main.js` is the one to start. */
export type Bundle = ReadonlyMap<string, string>;

export async function bundle({ root, ...build }: BundleOptions): Promise<Bundle> {
  const hot = onlyFile(await runBundler(root, HOT, [...EXTERNAL, REST]));
  const rest = await runBundler(root, REST, EXTERNAL);
  const texts = nameInOrder(new Map([...hot, ...rest]));
  replaceOnce(texts, `import("${REST}")`, `import("./process.js")`);
  stampBuild(texts, build);
  loadNodeModulesLate(texts);
  return texts;
}

function onlyFile(files: Bundle): Bundle {
  if (files.size !== 1) {
    throw new Error(`the hot path is ${files.size} files: ${[...files.keys()]}`);
  }
  return files;
}

async function runBundler(
  root: string,
  entry: string,
  external: readonly string[],
): Promise<Bundle> {
  const out = await Deno.makeTempDir({ prefix: "openbox-bundle-" });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["bundle", entry, "--quiet", "--platform", "deno", "--code-splitting", "--frozen"],
        ...["--outdir", out, ...external.flatMap((name) => ["--external", name])],
      ],
      cwd: root,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(`deno bundle ${entry}: ${new TextDecoder().decode(stderr)}`);
    const files = new Map<string, string>();
    for await (const { name } of Deno.readDir(out)) {
      files.set(name, withoutPaths(await Deno.readTextFile(`${out}/${name}`)));
    }
    return files;
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** The bundler writes where a module lay into a comment, and into the name of a CommonJS function. */
function withoutPaths(text: string): string {
  return text
    .replaceAll(/^\/\/ \S*\/npm\/[^/\s]+\//gm, "// npm:")
    .replaceAll(/^( {2}")[^"\n]*\/npm\/[^/"\n]+\/([^"\n]+"\()/gm, "$1npm:$2");
}

/**
 * The bundler names a file by a hash into which the paths went. Here the name is its number among those
 * with its word, in the order of their texts.
 */
function nameInOrder(files: Bundle): Map<string, string> {
  const word = (name: string) => name.replace(/-[A-Z0-9]{8}\.js$/, "");
  const imported = /(?<=")\.\/([\w-]+\.js)(?=")/g;
  const sorted = [...files].map(([name, text]) => ({
    name,
    text,
    key: `${word(name)}\n${text.replaceAll(imported, (_, other) => word(other))}`,
  })).sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  const names = new Map<string, string>();
  const count = new Map<string, number>();
  sorted.forEach(({ name, key }, at) => {
    if (sorted[at - 1]?.key === key) {
      throw new Error(`two files of the bundle are the same: ${name}`);
    }
    const kept = word(name);
    const number = (count.get(kept) ?? 0) + 1;
    count.set(kept, number);
    names.set(name, name === kept ? name : `${kept}_${number}.js`);
  });
  return new Map(
    sorted.map(({ name, text }) => [
      names.get(name)!,
      text.replaceAll(imported, (whole, other) => {
        const renamed = names.get(other);
        if (!renamed) throw new Error(`${name} imports ${whole}, which the bundle has not`);
        return `./${renamed}`;
      }),
    ]),
  );
}

function stampBuild(
  texts: Map<string, string>,
  { form, commit, repository = null }: Omit<BundleOptions, "root">,
): void {
  replaceOnce(
    texts,
    `{\n  form: "source",\n  commit: null,\n  repository: null\n}`,
    JSON.stringify({ form, commit, repository }),
  );
}

/**
 * One CommonJS package makes the bundler's own helpers import `node:module`, and so whatever needs one of
 * them: 24 ms more at each start. It would also look for add-ons in every `node_modules` above the program.
 * Here a `require` that is left is for what is built in, and anything else is not there.
 * ssh2's WebAssembly asks for the directory of its script, which it then does not need.
 */
function loadNodeModulesLate(texts: Map<string, string>): void {
  const before =
    `import { createRequire as __deno_internal_createRequire } from "node:module";\nvar __require = __deno_internal_createRequire(import.meta.url);\n`;
  const after = `var __require = (name) => {
  const builtIn = process.getBuiltinModule(name);
  if (builtIn) return builtIn;
  throw Object.assign(new Error("Cannot find module '" + name + "'"), { code: "MODULE_NOT_FOUND" });
};
globalThis.__dirname ??= "/";
`;
  replaceOnce(texts, before, after);
}

/** What is no longer there, or there twice, is a bundler that changed: better no build than a wrong one. */
function replaceOnce(texts: Map<string, string>, before: string, after: string): void {
  const found = [...texts].filter(([, text]) => text.includes(before));
  const [name, text] = found[0] ?? [];
  if (found.length !== 1 || text!.split(before).length !== 2) {
    throw new Error(
      `the bundle should have this in one place, and has it in ${found.length}:\n${before}`,
    );
  }
  texts.set(name!, text!.replace(before, () => after));
}
