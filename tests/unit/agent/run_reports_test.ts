import assert from "node:assert/strict";
import { reportRuns } from "../../../src/agent/run_reports.ts";
import { openRunSpool, type RunSpool } from "../../../src/agent/run_spool.ts";
import type { RunEvents } from "../../../src/api/run_events.ts";
import { ControlError } from "../../../src/client/control_client.ts";
import { systemClock } from "../../../src/clock.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { eventually } from "../../fixtures/processes.ts";
import { RUN } from "../../fixtures/run_event.ts";

/** Long, so that a few fill a report. */
const LONG_RUN = { ...RUN, program: "x".repeat(64), command: "y".repeat(1000) };

/** A spool, and a control plane that answers as `answer` says; until `count` events are told or dropped. */
async function report(
  fill: (spool: RunSpool) => Promise<void>,
  answer: (events: RunEvents) => void,
  done: (calls: readonly RunEvents[]) => boolean,
): Promise<readonly RunEvents[]> {
  const directory = await Deno.makeTempDir();
  await Deno.chmod(directory, 0o700);
  try {
    const clock = { now: () => Date.now(), sleep: (_: number) => systemClock.sleep(1) };
    await using spool = await openRunSpool(`${directory}/runs.jsonl`, { clock });
    const calls: RunEvents[] = [];
    const control = {
      reportRuns(events: RunEvents) {
        answer(events);
        calls.push(events);
        return Promise.resolve();
      },
    };
    await fill(spool);
    const stop = new AbortController();
    const reporting = reportRuns({ control, spool, clock, random: () => 0.5 }, stop.signal);
    await eventually("all are told", () => done(calls));
    stop.abort();
    await reporting;
    return calls;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const told = (calls: readonly RunEvents[]) =>
  calls.flatMap(({ events }) => events.map(({ n }) => n));

Deno.test("AUD-8: what could not be told is told later, each event once and in order", async () => {
  let failures = 3;
  const calls = await report(
    async (spool) => {
      for (let i = 0; i < 250; i++) await spool.start(LONG_RUN);
    },
    () => {
      if (failures-- > 0) throw new OpenboxError("control_unreachable", "no answer");
    },
    (calls) => told(calls).length >= 250,
  );
  assert.deepEqual(told(calls), Array.from({ length: 250 }, (_, i) => i + 1));
  for (const call of calls) assert.ok(JSON.stringify(call).length < 64 * 1024);
});

Deno.test("AUD-5: an event that the control plane takes never holds up no other, and is told as missing", async () => {
  const bad = (n: number) => n === 7;
  const calls = await report(
    async (spool) => {
      for (let i = 0; i < 20; i++) await spool.start(LONG_RUN);
    },
    ({ events }) => {
      if (!events.some(({ n }) => bad(n))) return;
      throw new ControlError("bad_request", "run_id: no", { status: 400 });
    },
    (calls) => told(calls).length >= 19,
  );
  const wanted = Array.from({ length: 20 }, (_, i) => i + 1).filter((n) => !bad(n));
  assert.deepEqual(told(calls), wanted);
});
