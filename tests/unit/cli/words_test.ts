import assert from "node:assert/strict";
import fc from "fast-check";
import { toShellLine } from "../../../src/cli/words.ts";
import { findProgram, requireComponent } from "../../fixtures/component.ts";

/** What a real shell makes of the line: the arguments that a command in it gets. */
async function readBack(shell: string[], words: readonly string[]): Promise<string[]> {
  const line = toShellLine(["printf", "%s\\0", ...words]);
  const { stdout, success } = await new Deno.Command(shell[0]!, {
    args: [...shell.slice(1), "-c", line],
  }).output();
  assert(success, line);
  return new TextDecoder().decode(stdout).split("\0").slice(0, -1);
}

Deno.test("RUN-6: words of a command line arrive as they were given", async () => {
  const words = ["a  b", "*", "$HOME", "|", ";", "'\"", "", "é\n", "~", "{a,b}", "\\", "!", "=x"];
  assert.deepEqual(await readBack(["/bin/sh"], words), words);
});

const SHELLS = [["/bin/sh"], ["bash"], ["zsh", "-f"], ["busybox", "sh"]];

Deno.test("EXE-1: any words come back from the shells that a node may have", async () => {
  requireComponent("bash", "zsh", "busybox"); // in CI all of them are tried
  // NUL cannot stand in an argument, a lone surrogate in no text
  const word = fc.string({ unit: "binary", maxLength: 12 })
    .map((text) => text.replaceAll("\0", "").toWellFormed());
  for (const shell of SHELLS.filter(([name]) => name === "/bin/sh" || findProgram(name!))) {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(word, { minLength: 1 }), { minLength: 8 }),
        async (groups) => {
          const words = groups.flat();
          assert.deepEqual(await readBack(shell, words), words);
        },
      ),
      { numRuns: 25 },
    );
  }
});

Deno.test("safe words go bare, so that builtins, aliases and assignments work", () => {
  assert.equal(toShellLine(["time", "make", "CC=gcc", "-j8"]), "time make CC=gcc -j8");
  assert.equal(toShellLine(["A=b", "env"]), "A=b env");
  assert.equal(toShellLine(["=ls", "a"]), "'=ls' a");
  assert.equal(toShellLine(["it's", "a b"]), `'it'\\''s' 'a b'`);
});

Deno.test("one word is a shell line, whatever is in it", () => {
  assert.equal(toShellLine(["echo $HOME | tr a-z A-Z"]), "echo $HOME | tr a-z A-Z");
  assert.equal(toShellLine(["'"]), "'");
});
