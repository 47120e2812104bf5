import assert from "node:assert/strict";
import { openRunSpool, type RunSpool } from "../../../src/agent/run_spool.ts";
import type { RunEvent } from "../../../src/api/run_events.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { RUN } from "../../fixtures/run_event.ts";

const EXIT = {
  run_id: "run_1",
  user_id: "usr_1",
  serial: "7",
  outcome: "exit",
  code: 0,
  signal: null,
  error: null,
  duration_ms: 5,
} as const;

async function scratch() {
  const directory = await Deno.makeTempDir();
  await Deno.chmod(directory, 0o700);
  return {
    path: `${directory}/runs.jsonl`,
    directory,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}
const open = (path: string, mostWaiting?: number) =>
  openRunSpool(path, { clock: new FakeClock(), mostWaiting });
const all = (spool: RunSpool) => spool.waiting(1000, AbortSignal.timeout(5000));
const shape = (events: readonly RunEvent[]) =>
  events.map((event) => event.kind === "end" ? `end ${event.start} ${event.outcome}` : event.kind);

Deno.test("AUD-5: a run that was going on when the agent was killed is told as lost, once", async () => {
  await using files = await scratch();
  const first = await open(files.path);
  const run = await first.start(RUN);
  await first.start({ ...RUN, run_id: "run_2" });
  first.end(run, EXIT);
  await first[Symbol.asyncDispose](); // writes nothing more: as after a kill

  const second = await open(files.path);
  const events = await all(second);
  assert.deepEqual(shape(events), ["start", "start", "end 1 exit", "end 2 lost"]);
  assert.deepEqual(events.map(({ n }) => n), [1, 2, 3, 4]);
  assert.equal(second.id, first.id);
  second.delivered(4);
  await second[Symbol.asyncDispose]();

  await using third = await open(files.path);
  await assert.rejects(third.waiting(1, AbortSignal.abort(new Error("nothing waits"))), /nothing/);
  assert.equal(await third.start(RUN), 5);
});

Deno.test("AUD-5: a start that was told already is still told as lost", async () => {
  await using files = await scratch();
  const first = await open(files.path);
  await first.start(RUN);
  first.delivered(1);
  await first[Symbol.asyncDispose]();
  await using second = await open(files.path);
  assert.deepEqual(shape(await all(second)), ["end 1 lost"]);
});

Deno.test("a file that was cut off within a line holds what came before", async () => {
  await using files = await scratch();
  const first = await open(files.path);
  first.end(await first.start(RUN), EXIT);
  await first[Symbol.asyncDispose]();
  const text = await Deno.readTextFile(files.path);
  await Deno.writeTextFile(files.path, text.slice(0, -5));
  await using second = await open(files.path);
  assert.deepEqual(shape(await all(second)), ["start", "end 1 lost"]);
});

Deno.test("nobody else can read the file", async () => {
  await using files = await scratch();
  await using spool = await open(files.path);
  await spool.start(RUN);
  assert.equal((await Deno.stat(files.path)).mode! & 0o777, 0o600);
});

Deno.test("AUD-8: without the control plane memory and disk are bounded, and the gap is told", async () => {
  await using files = await scratch();
  await using spool = await open(files.path, 10);
  for (let i = 0; i < 100; i++) await spool.start(RUN);
  const kept = await all(spool);
  assert.equal(kept.length, 10);
  spool.delivered(kept.at(-1)!.n);
  await spool.start(RUN);
  const [gap, start] = await all(spool);
  assert.deepEqual({ ...gap, at_ms: 0 }, { kind: "gap", n: 11, at_ms: 0, dropped: 90 });
  assert.equal(start!.kind, "start");
});

Deno.test("10,000 runs that were told leave a small file", async () => {
  await using files = await scratch();
  await using spool = await open(files.path);
  for (let i = 0; i < 10_000; i++) {
    const n = await spool.start(RUN);
    spool.end(n, EXIT);
    spool.delivered(n + 1);
  }
  await spool[Symbol.asyncDispose]();
  assert.ok((await Deno.stat(files.path)).size < 1024 * 1024);
});

Deno.test("RES-2: where the disk takes nothing runs start, and are told from memory", async () => {
  await using files = await scratch();
  const path = `${files.directory}/missing/\0/runs.jsonl`;
  await using spool = await open(path);
  spool.end(await spool.start(RUN), EXIT);
  assert.deepEqual(shape(await all(spool)), ["start", "end 1 exit"]);
});

Deno.test("a long spool is written anew only when it has doubled", async () => {
  await using files = await scratch();
  await using spool = await open(files.path);
  const long = { ...RUN, command: "x".repeat(1000) };
  let before = 0, written = 0;
  for (let i = 0; i < 2500; i++) {
    await spool.start(long);
    const { ino } = await Deno.stat(files.path);
    if (ino !== before) written++;
    before = ino!;
  }
  assert.ok(written < 10, `${written} times`);
});
