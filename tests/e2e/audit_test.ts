/** What the record says of runs, told by the agent: real processes, killed too. */
import assert from "node:assert/strict";
import type { AuditRecord } from "../../src/api/audit.ts";
import { type Fleet, startFleet } from "../fixtures/fleet.ts";
import { eventually } from "../fixtures/processes.ts";

const runs = async (fleet: Fleet): Promise<AuditRecord[]> => {
  const { out } = await fleet.call(["audit", "--json", "--since", "1h"]);
  return out.trim().split("\n").map((line) => JSON.parse(line) as AuditRecord)
    .filter(({ action }) => action.startsWith("run."));
};

Deno.test("AUD-2: a run is on record with its start and its outcome, and nothing of what it wrote", async () => {
  await using fleet = await startFleet();
  const { code } = await fleet.call(["-t", "box", "echo out-put; echo pass=hush >&2; exit 7"]);
  assert.equal(code, 7);
  await eventually("both are told", async () => (await runs(fleet)).length === 2, 30_000);
  const [start, end] = await runs(fleet);
  assert.equal(start!.actor_name, "box");
  assert.equal(start!.detail.program, "echo");
  assert.match(start!.subject!, /^run_[0-9a-f]{16}$/);
  assert.equal(end!.subject, start!.subject);
  assert.deepEqual([end!.detail.outcome, end!.detail.code], ["exit", 7]);
  assert.doesNotMatch(JSON.stringify([start, end]), /hush|out-put/);
  const dispatch = (await fleet.call(["audit", "--json"])).out.split("\n")
    .filter((line) => line.includes('"dispatch"')).map((line) => JSON.parse(line));
  assert.equal(dispatch[0].detail.serial, start!.detail.serial);
});

Deno.test("AUD-5: a run whose agent was killed is on record as lost when the agent is back", async () => {
  await using fleet = await startFleet({ agents: [] });
  const home = `${fleet.scratch}/agent`;
  const agent = await fleet.addAgent({ name: "box", tags: ["box"], home });
  const run = fleet.spawn(["-t", "box", "sleep 1000"], { stdin: "null" }).output();
  await eventually("the start is told", async () => (await runs(fleet)).length === 1, 30_000);
  agent.kill("SIGKILL");
  assert.equal((await run).code, 255);
  await agent.ended;
  await fleet.addAgent({ name: "box", tags: ["box"], home });
  await eventually("its end is told", async () => (await runs(fleet)).length === 2, 30_000);
  const [start, end] = await runs(fleet);
  assert.equal(end!.subject, start!.subject);
  assert.equal(end!.detail.outcome, "lost");
  assert.equal((await fleet.call(["audit", "verify"])).code, 0);
});
