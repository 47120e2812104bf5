import assert from "node:assert/strict";

const SCRIPT = new URL("../../../scripts/environment.sh", import.meta.url);

/** Words in the binary that look like variables of Deno or Node and are none, or none that an openbox minds. */
const OTHERS = [
  "DENO_DIR", // set by the launcher
  "DENO_NO_UPDATE_CHECK",
  "DENO_NODE_SHIM_ACTIVE",
  ...["NODE_CLO", "NODE_CLUSTER", "NODE_HANDLE", "NODE_MODULE", "NODE_PERFORMANCE_ENTRY_TYPE_"],
  ...["NODE_CREATE_INFO_AMDX", "NODE_HTTP", "NODE_TYPE_ERR", "DENO_TLS_FINISHED_"],
  ...["NODE_REPL_MODE", "NODE_SIZE", "NODE_SOCKET_", "NODE_DISABLE_COLORS", "NODE_NO_READLINE"],
];

Deno.test("CFG-7: every variable that the pinned Deno knows is kept from it, or known to be harmless", async () => {
  const script = await Deno.readTextFile(SCRIPT);
  const kept = /^unset ((?:.*\\\n)*.*)/m.exec(script)![1]!.split(/[\s\\]+/);
  assert.ok(kept.includes("DENO_CERT") && kept.includes("LD_PRELOAD"), kept.join(" "));
  const binary = new TextDecoder("latin1").decode(await Deno.readFile(Deno.execPath()));
  const found = new Set<string>();
  // texts lie in it one behind the other, so a name may have more behind it
  for (const [name] of binary.matchAll(/(?:DENO|NODE)_[A-Z][A-Z0-9_]{2,60}/g)) found.add(name);
  assert.ok(found.size > 50);
  const known = [...kept, ...OTHERS].filter((name) => /^(DENO|NODE)_/.test(name));
  const unknown = [...found].filter((name) => !known.some((start) => name.startsWith(start)));
  assert.deepEqual(unknown, []);
});
