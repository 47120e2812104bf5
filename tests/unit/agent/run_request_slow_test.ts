/** In a file of its own: it waits for fifteen seconds, and others need not wait for it. */
import assert from "node:assert/strict";
import { readWantedRun } from "../../../src/agent/run_request.ts";
import { RUN_SUBSYSTEM } from "../../../src/api/run.ts";
import { concat, text, toBase64, utf8 } from "../../../src/bytes.ts";
import { systemClock } from "../../../src/clock.ts";
import { u32 } from "../../../src/ssh/wire.ts";
import { fakeChannel } from "../../fakes/server_channel.ts";

const json = utf8(
  JSON.stringify({ kind: "run", run_id: "run_1", command: toBase64(utf8("true")) }),
);
const header = concat([u32(json.length), json]);
const ours = { kind: "subsystem", name: RUN_SUBSYSTEM } as const;

Deno.test("RUN-8, NET-4: a header may come slowly, as long as it comes; a caller that falls silent is refused", async () => {
  const slow = fakeChannel(undefined, ours), stalled = fakeChannel(undefined, ours);
  const read = readWantedRun(slow.channel);
  stalled.send(header.slice(0, 20));
  const refused = assert.rejects(readWantedRun(stalled.channel), {
    code: "bad_request",
    message: "The run's header did not come in time",
  });
  for (const [from, to] of [[0, 2], [2, 30], [30, undefined]]) {
    await systemClock.sleep(5_000);
    slow.send(header.slice(from, to));
  }
  assert.equal(text((await read).line!), "true");
  await refused;
});
