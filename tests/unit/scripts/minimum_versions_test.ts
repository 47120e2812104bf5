import assert from "node:assert/strict";
import { tooOld } from "../../../scripts/minimum_versions.ts";

const ROOT = new URL("../../../", import.meta.url);
const lock = await Deno.readTextFile(new URL("deno.lock", ROOT));

/** The lock, with other versions in it. */
const withVersion = (name: string, version: string) =>
  lock.replaceAll(new RegExp(`"${name}@[\\d.]+`, "g"), `"${name}@${version}`);

Deno.test("INS-10: no package is older than the version that closed its holes", () => {
  assert.deepEqual(tooOld(lock), []);
});

Deno.test("INS-10: a lock with an older one is refused by name, newer ones are not", () => {
  for (const version of ["4.13.4", "4.12.99", "3.99.0", "4.13.5-rc.1"]) {
    assert.deepEqual(tooOld(withVersion("hono", version)), [
      `hono ${version} is in deno.lock; 4.13.5 or newer is needed`,
    ]);
  }
  for (const version of ["4.13.5", "4.14.0", "5.0.0"]) {
    assert.deepEqual(tooOld(withVersion("hono", version)), []);
  }
  assert.match(tooOld(lock.replaceAll(`"ssh2@`, `"ssh3@`)).join(), /^ssh2 is not in deno\.lock/);
});

Deno.test("INS-10: the lock is frozen, versions are exact, and no script of a package is run", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  assert.equal(config.lock.frozen, true);
  assert.equal(config.allowScripts, undefined);
  for (const [name, specifier] of Object.entries(config.imports as Record<string, string>)) {
    assert.match(specifier, /^npm:\/?(@[\w-]+\/)?[\w-]+@\d+\.\d+\.\d+\/?$/, name);
  }
  for await (const { name, isFile } of Deno.readDir(new URL("scripts/", ROOT))) {
    if (!isFile) continue;
    assert.doesNotMatch(
      await Deno.readTextFile(new URL(`scripts/${name}`, ROOT)),
      /--allow-scripts/,
    );
  }
});
