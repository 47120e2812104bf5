import assert from "node:assert/strict";
import { readPassphrase } from "../../../src/cli/passphrase.ts";
import { fakeHost, type FakeHostOptions } from "../../fakes/host.ts";

const read = async (
  options: FakeHostOptions,
  { file, confirm = false }: { file?: string; confirm?: boolean } = {},
) => (await readPassphrase({ file, confirm }, fakeHost(options))).reveal();
const ENV = { OPENBOX_CA_PASSPHRASE: "from the environment" };

Deno.test("ROT-9: a passphrase comes from a file, the environment, stdin or a terminal, and leaves the environment", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "from a file\n");
    assert.equal(await read({ env: ENV }, { file: path }), "from a file");
  } finally {
    await Deno.remove(path);
  }
  assert.equal(await read({ env: ENV, stdin: "unread" }), "from the environment");
  assert.equal(await read({ env: ENV, stdin: "from stdin\n" }, { file: "-" }), "from stdin");
  assert.equal(await read({ stdin: " with blanks \r\n" }), " with blanks ");
  assert.equal(await read({ stdin: "typed\r", stdinTerminal: true }), "typed");
  const host = fakeHost({ env: ENV });
  await readPassphrase({ file: undefined, confirm: false }, host);
  assert.equal(host.env("OPENBOX_CA_PASSPHRASE"), undefined);
});

Deno.test("no passphrase is no passphrase", async () => {
  for (const stdin of ["", "\n"]) {
    await assert.rejects(read({ stdin }), { code: "usage" });
  }
});
