/** That no case is forgotten: each is in a test's name, or a line of docs/security.md says why it is not. */
import assert from "node:assert/strict";

/** Numbers that are missing are not in use. */
const CASES: Readonly<Record<string, string>> = {
  CERT: "1 2 3 4 5 6 8 9 10 11 12 13 15 16 17 19 20 21 22 24 25 26 28 29",
  SSH: "1 2 3 4 5 7 8 10 11 12 13 15 16 17",
  ENR: "1 2 4 5 6 7 9 10 11 13 14 16",
  TOK: "1 2 4 5 6 7 8 10 11 12 13 15 16 17 18",
  SES: "1 2 4 5 7 8 9 10 11 13 14 16 17",
  EXE: "1 2 3 5 6 7 9 10 11 13 14 15",
  STO: "1 2 3 4 6 7 8 9 10 11 12 13 15 16 17",
  DMN: "1 2 3 4 5 7 8 9 11 12",
  CFG: "1 2 3 4 6 7 8 9",
  INS: "1 2 4 5 6 7 8 9 10 11",
  AUD: "2 3 4 5 7 8 9 10",
  CLK: "1 2 4 5 6",
  NET: "1 2 3 4 5 6 8 9",
  KIL: "1 2 3 5 6 7 8 10",
  ROT: "1 2 3 4 5 6 7 8 9",
};

async function* testsIn(folder: URL): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const url = new URL(isDirectory ? `${name}/` : name, folder);
    if (isDirectory) yield* testsIn(url);
    else if (name.endsWith(".ts") && url.href !== import.meta.url) {
      yield await Deno.readTextFile(url);
    }
  }
}

Deno.test("each case has a test with its number, or a line that says why not", async () => {
  const tests = (await Array.fromAsync(testsIn(new URL("../", import.meta.url)))).join("\n");
  const document = await Deno.readTextFile(new URL("../../docs/security.md", import.meta.url));
  const told = new Set(
    document.split("\n").filter((line) => line.startsWith("| ")).flatMap((line) =>
      line.split("|")[1]!.match(/\b[A-Z]{3,4}-\d+\b/g) ?? []
    ),
  );
  const ids = Object.entries(CASES).flatMap(([family, numbers]) =>
    numbers.split(" ").map((number) => `${family}-${number}`)
  );
  const missing = ids.filter((id) => !new RegExp(`\\b${id}\\b`).test(tests) && !told.has(id));
  assert.deepEqual(missing, []);
});
