import assert from "node:assert/strict";
import { findBreaches, type ModuleGraph } from "../../../scripts/check_layers.ts";

const ROOT = new URL("../../../", import.meta.url);

/** A tree of sources in a temporary folder, its graph as `deno info` prints it, and what is found in it. */
async function breachesOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const directory = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) {
      const path = `${directory}/${name}`;
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(path, text);
    }
    const info = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["info", "--json", "--config", new URL("deno.json", ROOT).pathname],
        `${directory}/main.ts`,
      ],
    }).output();
    const graph: ModuleGraph = JSON.parse(new TextDecoder().decode(info.stdout));
    return findBreaches(graph, `file://${await Deno.realPath(directory)}/`, Object.keys(files));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("a tree that keeps to the table has no breach", async () => {
  assert.deepEqual(
    await breachesOf({
      "main.ts": `import "./src/bytes.ts";\nawait import("./src/cli/run.ts");`,
      "src/bytes.ts": ``,
      "src/cli/run.ts": `import "../ssh/client.ts";\nawait import("../agent/start.ts");`,
      "src/ssh/client.ts": `import "ssh2";\nimport "node:net";\nimport "../bytes.ts";`,
      "src/agent/start.ts": `import type { A } from "../isolation/native.ts";`,
      "src/isolation/native.ts": `export type A = 1;`,
    }),
    [],
  );
});

Deno.test("a breach is named with its file, its line and what may not be imported", async () => {
  assert.deepEqual(
    await breachesOf({
      "main.ts": `await import("./src/cli/run.ts");`,
      "src/cli/run.ts": `// a mode is reached only by import()\nimport "../control/start.ts";`,
      "src/control/start.ts": `\n\nimport type { A } from "../agent/start.ts";\nimport "ssh2";`,
      "src/agent/start.ts": `export type A = 1;\nexport * from "../store/rows.ts";`,
      "src/store/rows.ts": `await import("../bytes.ts");\nawait import("../api/node.ts");`,
      "src/api/node.ts": `import "fast-check";`,
      "src/bytes.ts": `import "./log.ts";`,
      "src/log.ts": `import { x } from "./ca/keys.ts";`,
      "src/ca/keys.ts": `export const x = 1;`,
    }).then((found) => found.sort()),
    [
      "src/agent/start.ts:2 imports src/store/rows.ts, which agent may not",
      "src/api/node.ts:1 imports fast-check, which api may not",
      "src/cli/run.ts:2 imports src/control/start.ts, which cli may not",
      "src/control/start.ts:3 imports src/agent/start.ts, which control may not",
      "src/control/start.ts:4 imports ssh2, which control may not",
      "src/log.ts:1 imports src/ca/keys.ts, which base words may not",
      "src/store/rows.ts:2 imports() src/api/node.ts, which store may not",
    ],
  );
});

Deno.test("a client may know an isolation's text form and nothing else of it", async () => {
  assert.deepEqual(
    await breachesOf({
      "main.ts": `import "./src/cli/run.ts";`,
      "src/cli/run.ts": `import "../client/target.ts";`,
      "src/client/target.ts": `import "../isolation/spec.ts";\nimport "../isolation/native.ts";`,
      "src/isolation/spec.ts": ``,
      "src/isolation/native.ts": ``,
    }),
    ["src/client/target.ts:2 imports src/isolation/native.ts, which client may not"],
  );
});

Deno.test("a source that nothing reaches is a breach, since its imports were not seen", async () => {
  assert.deepEqual(
    await breachesOf({ "main.ts": ``, "src/lost.ts": `` }),
    ["src/lost.ts is imported by nothing that main.ts reaches"],
  );
});
