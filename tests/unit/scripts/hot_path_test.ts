/**
 * What is loaded for every command: main.ts with its imports, until the first `import()`. A library, or one
 * module of Node, would cost each command what the daemon saves it.
 */
import assert from "node:assert/strict";
import { bundle } from "../../../scripts/bundle.ts";
import type { ModuleGraph } from "../../../scripts/check_layers.ts";

const ROOT = decodeURIComponent(new URL("../../..", import.meta.url).pathname).replace(/\/$/, "");

async function graphOf(entry: string): Promise<ModuleGraph> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", `${ROOT}/deno.json`, entry],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Every module that is loaded with `entry`, and one that imports it. */
function loadedWith(graph: ModuleGraph, entry: string): Map<string, string> {
  const found = new Map([[entry, ""]]);
  for (const from of found.keys()) {
    const module = graph.modules.find(({ specifier }) => specifier === from);
    for (const { specifier, code, isDynamic } of module?.dependencies ?? []) {
      if (!code || isDynamic) continue; // a type is not loaded
      const target = code.specifier ?? specifier;
      if (!found.has(target)) found.set(target, from);
    }
  }
  return found;
}

const foreign = (loaded: Map<string, string>): string[] =>
  [...loaded].filter(([module]) =>
    !module.startsWith("file://") || /\/npm\/|node_modules/.test(module)
  )
    .map(([module, from]) => `${module}, imported by ${from}`);

Deno.test("the hot path imports no library and no module of Node", async () => {
  const entry = `file://${ROOT}/main.ts`;
  const loaded = loadedWith(await graphOf(entry), entry);
  assert.deepEqual(foreign(loaded), []);
  assert.ok(loaded.has(`file://${ROOT}/src/cli/hot_path.ts`));
  assert.ok(!loaded.has(`file://${ROOT}/src/cli/process.ts`));
  assert.ok(loaded.size < 60, `${loaded.size} modules`);
});

Deno.test("a library or a module of Node on the way there is found, a late one and a type are not", async () => {
  const directory = await Deno.realPath(await Deno.makeTempDir());
  try {
    const files = {
      "main.ts": `import { a } from "./a.ts"; import type { Socket } from "node:net";
        export type S = Socket; a(); await import("./late.ts");`,
      "a.ts": `export { b as a } from "./b.ts";`,
      "b.ts": `import process from "node:process"; import * as v from "valibot";
        export const b = () => [process.pid, v];`,
      "late.ts": `import "ssh2";`,
    };
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${directory}/${name}`, text);
    }
    const entry = `file://${directory}/main.ts`;
    const found = foreign(loadedWith(await graphOf(entry), entry));
    assert.equal(found.length, 2, found.join("; "));
    assert.match(
      found.join("; "),
      /node:process, imported by .*\/b\.ts; .*valibot.*imported by .*\/b\.ts/,
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("in the bundle the hot path is one file that imports nothing but the rest, late", async () => {
  const main = (await bundle({ root: ROOT, form: "offline", commit: null })).get("main.js")!;
  assert.doesNotMatch(main, /^\s*(import|export)\b(?!\()[^(]*?["']/m);
  assert.deepEqual(main.match(/\bimport\([^)]*\)/g), [`import("./process.js")`]);
  assert.doesNotMatch(main, /["']node:|\brequire\(|\bprocess\.(?!js)|\bBuffer\b/);
  assert.ok(main.length < 100_000, `${main.length} characters`);
});
