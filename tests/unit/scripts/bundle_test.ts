/** The bundle that goes into the executable: nothing of the sources is lost in it, and where they lie is not seen. */
import assert from "node:assert/strict";
import { type Bundle, bundle } from "../../../scripts/bundle.ts";

const ROOT = decodeURIComponent(new URL("../../..", import.meta.url).pathname).replace(/\/$/, "");
const SOURCES = ["main.ts", "src", "deno.json", "deno.lock"];

/** The sources, in a directory so deep below a temporary one. */
async function copySources(depth: number) {
  const directory = await Deno.makeTempDir({ prefix: "openbox-bundle-" });
  const path = `${directory}${"/deeper er".repeat(depth)}`;
  await Deno.mkdir(path, { recursive: true });
  const { success } = await new Deno.Command("cp", {
    args: ["-R", ...SOURCES.map((name) => `${ROOT}/${name}`), path],
  }).output();
  assert.ok(success);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }) };
}

const make = (root: string) => bundle({ root, form: "offline", commit: "0".repeat(40) });
const whole = (files: Bundle) => [...files.values()].join("\n");

/** A disposal is a statement of its own, or the variable of a loop. */
const USING = /^\s*(?:for \()?(?:await )?using \w+ (?:=|of)/gm;

/** How many disposals each source has in a file of the bundle; what the hot path and the rest share is there twice. */
function disposals(text: string): Map<string, number> {
  const found = new Map<string, number>();
  const parts = text.split(/^\/\/ (\S+)\n/m);
  for (let at = 1; at < parts.length; at += 2) {
    const name = parts[at]!;
    if (!name.endsWith(".ts")) continue;
    found.set(name, (found.get(name) ?? 0) + (parts[at + 1]!.match(USING)?.length ?? 0));
  }
  return found;
}

Deno.test("no disposal of a source is lost", async () => {
  const most = new Map<string, number>();
  for (const text of (await make(ROOT)).values()) {
    for (const [name, count] of disposals(text)) {
      most.set(name, Math.max(count, most.get(name) ?? 0));
    }
  }
  let all = 0;
  for (const [name, count] of most) {
    const wanted = (await Deno.readTextFile(`${ROOT}/${name}`)).match(USING)?.length ?? 0;
    assert.equal(count, wanted, name);
    all += wanted;
  }
  assert.ok(all > 80, `${all}`);
});

Deno.test("INS-8: the same sources make the same bundle, wherever they and the packages lie", async () => {
  await using near = await copySources(0);
  await using far = await copySources(3);
  const [one, other] = [await make(near.path), await make(far.path)];
  assert.deepEqual([...one.keys()], [...other.keys()]);
  for (const [name, text] of one) assert.equal(other.get(name), text, name);
  const text = whole(one);
  for (const place of [near.path, ROOT, Deno.env.get("DENO_DIR")]) {
    if (place) assert.ok(!text.includes(place.slice(1)), place);
  }
});

Deno.test("what is required by name at run time is built in or not there; no file imports node:module", async () => {
  const files = await make(ROOT);
  assert.doesNotMatch(whole(files), /from "node:module"/);
  const helper = [...files.values()].find((text) => text.includes("var __require = "));
  assert.match(helper!, /getBuiltinModule/);
});

Deno.test("texts that are imported are inside", async () => {
  const text = whole(await make(ROOT));
  const first = await Deno.readTextFile(`${ROOT}/src/store/migrations/001_first.sql`);
  const table = /create table (\w+)/i.exec(first)![0];
  assert.ok(text.includes(table), table);
});

Deno.test("a bundle in which a change of ours no longer fits is refused with what is missing", async () => {
  await using sources = await copySources(0);
  await Deno.writeTextFile(`${sources.path}/main.ts`, `console.log("nothing of openbox");\n`);
  await assert.rejects(
    make(sources.path),
    /should have this in one place, and has it in 0:\n[^]*process\.ts/,
  );
});

Deno.test("a source that cannot be bundled is told", async () => {
  await using sources = await copySources(0);
  await Deno.writeTextFile(`${sources.path}/main.ts`, `import "./src/not_there.ts";\n`);
  await assert.rejects(make(sources.path), /deno bundle main\.ts: [^]*not_there/);
});
