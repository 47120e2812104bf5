import assert from "node:assert/strict";
import { checkVariables, VARIABLES } from "../../../../src/cli/doctor/variables.ts";

const check = (env: Record<string, string>) =>
  checkVariables(Object.keys(env), (name) => env[name] || undefined);

Deno.test("a variable that means nothing is told, with the one that was perhaps meant", () => {
  const [typo, other] = check({ OPENBOX_SERVR: "x", OPENBOX_COLOUR_SCHEME: "x", PATH: "/bin" });
  assert.equal(typo!.verdict, "warning");
  assert.deepEqual([typo!.text, typo!.hint], [
    "OPENBOX_COLOUR_SCHEME means nothing to openbox",
    "unset OPENBOX_COLOUR_SCHEME",
  ]);
  assert.equal(other!.hint, "perhaps OPENBOX_SERVER");
});

Deno.test("variables that contradict each other, or lack the other one, are wrong", () => {
  const [both] = check({ OPENBOX_CA: "/ca", OPENBOX_CA_KEY: "pem" });
  assert.deepEqual([both!.verdict, both!.hint], ["wrong", "unset OPENBOX_CA or OPENBOX_CA_KEY"]);
  const [half] = check({ OPENBOX_TLS_KEY: "/key" });
  assert.deepEqual([half!.verdict, half!.hint], ["wrong", "set OPENBOX_TLS_CERT too"]);
});

Deno.test("good variables are named, never their values, and an empty one is none", () => {
  const found = check({ OPENBOX_TOKEN: "obx_secret", OPENBOX_CA: "", OPENBOX_PROGRAM: "/x" });
  assert.deepEqual(found, [{ verdict: "ok", text: "OPENBOX_TOKEN" }]);
  assert.deepEqual(check({}), [{ verdict: "ok", text: "none are set" }]);
});

async function* sources(folder: URL): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const url = new URL(isDirectory ? `${name}/` : name, folder);
    if (isDirectory) yield* sources(url);
    else if (!url.pathname.endsWith("doctor/variables.ts")) yield await Deno.readTextFile(url);
  }
}

Deno.test("every variable that the sources read is known", async () => {
  const texts = await Array.fromAsync(sources(new URL("../../../../src/", import.meta.url)));
  const read = new Set(texts.join("\n").match(/\bOPENBOX_[A-Z]+(?:_[A-Z]+)*\b/g));
  const known: readonly string[] = VARIABLES;
  assert.deepEqual([...read].filter((name) => !known.includes(name)).sort(), []);
});
