/** In a file of its own: it waits for ten seconds, and others need not wait for it. */
import assert from "node:assert/strict";
import { openRun } from "../../../src/client/exec.ts";
import { endWith, listen, startFakeNode } from "./fake_node.ts";

Deno.test("SSH-15: a node that accepts and stays silent ends in node_timeout after 10 s", async () => {
  await using silent = await listen(() => {});
  await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
  node.change = (answer) => ({ ...answer, addr: silent.addr });
  const from = Date.now();
  const signal = AbortSignal.timeout(20_000);
  const target = { tag: "mac", isolation: { kind: "native" } } as const;
  await assert.rejects(openRun(target, { line: "id" }, node.deps, { signal }), {
    code: "node_timeout",
  });
  assert(Date.now() - from < 12_000);
});
