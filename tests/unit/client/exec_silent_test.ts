/** In a file of its own: it waits for ten seconds, and others need not wait for it. */
import assert from "node:assert/strict";
import { openRun } from "../../../src/client/exec.ts";
import { endWith, listen, startFakeNode } from "./fake_node.ts";

const target = { tag: "mac", isolation: { kind: "native" } } as const;

/** Runs a command on a node that listens at `addr`. */
async function runAt(addr: string) {
  await using node = await startFakeNode({ serve: (_, channel) => endWith(channel, 0) });
  node.change = (answer) => ({ ...answer, addr });
  const signal = AbortSignal.timeout(20_000);
  await using _run = await openRun(target, { line: "id" }, node.deps, { signal });
}

Deno.test("SSH-15: a node that stays silent, or turns away each time, ends in node_timeout after 10 s", async () => {
  await using silent = await listen(() => {});
  await using full = await listen((socket) => void socket.resume().end("SSH-2.0-x\r\n"));
  const from = Date.now();
  await Promise.all([
    assert.rejects(runAt(silent.addr), {
      code: "node_timeout",
      message: `The node mini at ${silent.addr} did not answer within 10 s`,
    }),
    assert.rejects(runAt(full.addr), {
      code: "node_timeout",
      message:
        `The node mini at ${full.addr} did not answer within 10 s: the peer closed the connection`,
    }),
  ]);
  assert(Date.now() - from < 12_000);
});
