import assert from "node:assert/strict";
import { log, startLog } from "../../src/log.ts";
import { fakeHost } from "../fakes/host.ts";

Deno.test("a flush while there is nothing to write does not end the log", async () => {
  const host = fakeHost();
  await using started = await startLog(host);
  await started.flush();
  log("agent").info("still here");
  await started.flush();
  assert.match(host.err.text(), /still here/);
});
