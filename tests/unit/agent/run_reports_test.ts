import assert from "node:assert/strict";
import { reportRuns } from "../../../src/agent/run_reports.ts";
import { openRunSpool } from "../../../src/agent/run_spool.ts";
import type { RunEvents } from "../../../src/api/run_events.ts";
import { systemClock } from "../../../src/clock.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { eventually } from "../../fixtures/processes.ts";

const RUN = {
  run_id: "run_1",
  user_id: "usr_1",
  serial: "7",
  token_id: null,
  session: null,
  isolation: null,
  login: null,
  program: "x".repeat(64),
  command_sha256: null,
  command: "y".repeat(1000),
};

Deno.test("AUD-8: what could not be told is told later, each event once and in order", async () => {
  const directory = await Deno.makeTempDir();
  await Deno.chmod(directory, 0o700);
  try {
    const clock = { now: () => Date.now(), sleep: (_: number) => systemClock.sleep(1) };
    await using spool = await openRunSpool(`${directory}/runs.jsonl`, { clock });
    const calls: RunEvents[] = [];
    let failures = 3;
    const control = {
      reportRuns(events: RunEvents) {
        if (failures-- > 0) {
          return Promise.reject(new OpenboxError("control_unreachable", "no answer"));
        }
        calls.push(events);
        return Promise.resolve();
      },
    };
    for (let i = 0; i < 250; i++) await spool.start(RUN);
    const stop = new AbortController();
    const reporting = reportRuns({ control, spool, clock, random: () => 0.5 }, stop.signal);
    const told = () => calls.flatMap(({ events }) => events.map(({ n }) => n));
    await eventually("all are told", () => told().length >= 250);
    stop.abort();
    await reporting;
    assert.deepEqual(told(), Array.from({ length: 250 }, (_, i) => i + 1));
    for (const call of calls) assert.ok(JSON.stringify(call).length < 64 * 1024);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
