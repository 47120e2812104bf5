import assert from "node:assert/strict";
import { caFingerprint, formatCaKeys, generateCaKeys } from "../../../src/ca/keys.ts";
import { loadCaKeys } from "../../../src/control/ca_keys.ts";
import type { Code, OpenboxError } from "../../../src/errors.ts";
import { generateKey, privatePem } from "../../../src/ssh/key.ts";

const FIRST = { firstStart: true };
const refuses = (code: Code, text: RegExp, call: Promise<unknown>) =>
  assert.rejects(call, (error: OpenboxError) => {
    assert.equal(error.code, code);
    assert.match(`${error.message} ${error.hint}`, text);
    assert.doesNotMatch(String(error), /PRIVATE KEY/);
    return true;
  });

async function home() {
  const root = await Deno.makeTempDir();
  return {
    path: `${root}/control/ca_key`,
    directory: `${root}/control`,
    [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }),
  };
}

Deno.test("the first start makes the keys, 0600 in 0700, and the next one finds them", async () => {
  await using it = await home();
  const source = { kind: "home", path: it.path } as const;
  const made = await loadCaKeys(source, FIRST);
  assert.equal((await Deno.stat(it.path)).mode! & 0o777, 0o600);
  assert.equal((await Deno.stat(it.directory)).mode! & 0o777, 0o700);
  const found = await loadCaKeys(source, { firstStart: false });
  assert.equal(caFingerprint(found), caFingerprint(made));
});

Deno.test("ROT-8: of many starts at once one makes the keys, and all have them", async () => {
  await using it = await home();
  const source = { kind: "home", path: it.path } as const;
  const loaded = await Promise.all(Array.from({ length: 20 }, () => loadCaKeys(source, FIRST)));
  assert.equal(new Set(loaded.map(caFingerprint)).size, 1);
  assert.deepEqual(
    (await Array.fromAsync(Deno.readDir(it.directory))).map(({ name }) => name),
    ["ca_key"],
  );
});

Deno.test("CFG-1: a key that others can read is refused with the command, and not used", async () => {
  await using it = await home();
  const source = { kind: "home", path: it.path } as const;
  await loadCaKeys(source, FIRST);
  for (const mode of [0o644, 0o640, 0o606, 0o660]) {
    await Deno.chmod(it.path, mode);
    await refuses("unsafe_file", /chmod 600 .*ca_key/, loadCaKeys(source, FIRST));
  }
  await Deno.chmod(it.path, 0o600);
  await Deno.chmod(it.directory, 0o777);
  await refuses("unsafe_file", /chmod 700 .*control/, loadCaKeys(source, FIRST));
});

Deno.test("CFG-1: a key of another user is refused", { ignore: Deno.uid() !== 0 }, async () => {
  await using it = await home();
  const source = { kind: "home", path: it.path } as const;
  await loadCaKeys(source, FIRST);
  await Deno.chown(it.path, 12345, 12345);
  await refuses("unsafe_file", /chown 0/, loadCaKeys(source, FIRST));
});

Deno.test("CFG-4: a key that is cut, changed or single is refused and stays as it is", async () => {
  await using it = await home();
  const source = { kind: "home", path: it.path } as const;
  await loadCaKeys(source, FIRST);
  const good = await Deno.readTextFile(it.path);
  const bad = {
    cut: good.slice(0, good.length / 2),
    empty: "",
    single: privatePem(generateKey(), "openbox-host-ca"),
    swapped: good.replace("A", "B"),
    garbage: "hello",
    three: good + privatePem(generateKey(), "openbox-user-ca"),
  };
  for (const [name, text] of Object.entries(bad)) {
    await Deno.writeTextFile(it.path, text);
    await refuses("bad_file", /ca_key/, loadCaKeys(source, FIRST));
    assert.equal(await Deno.readTextFile(it.path), text, name);
  }
});

Deno.test("after the first start a lost key is refused, not replaced", async () => {
  await using it = await home();
  const source = { kind: "home", path: it.path } as const;
  await refuses(
    "bad_file",
    /is gone.*backup.*ca-keygen/,
    loadCaKeys(source, { firstStart: false }),
  );
  await assert.rejects(Deno.stat(it.path), Deno.errors.NotFound);
});

Deno.test("a key file that was named is never made", async () => {
  await using it = await home();
  const source = { kind: "given", path: it.path } as const;
  await refuses("bad_file", /There is no CA key .*ca-keygen/, loadCaKeys(source, FIRST));
  await assert.rejects(Deno.stat(it.path), Deno.errors.NotFound);
});

Deno.test("keys come as text too", async () => {
  const keys = generateCaKeys();
  const loaded = await loadCaKeys({ kind: "text", pem: formatCaKeys(keys) }, FIRST);
  assert.equal(caFingerprint(loaded), caFingerprint(keys));
});
