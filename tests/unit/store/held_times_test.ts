import assert from "node:assert/strict";
import { type Held, HeldTimes } from "../../../src/store/held_times.ts";

Deno.test("a held time stands above the stored one, also while it is being written", async () => {
  const times = new HeldTimes();
  times.mark("a", 5);
  assert.equal(times.latest("a", 3), 5);
  assert.equal(times.latest("a", 7), 7);
  assert.equal(times.latest("b", 3), 3);
  await times.flush(() => Promise.resolve(assert.equal(times.latest("a", 3), 5)), 10);
  assert.equal(times.latest("a", 3), 3);
});

Deno.test("a flush writes each time once, in batches", async () => {
  const times = new HeldTimes(), batches: (readonly Held[])[] = [];
  for (let i = 0; i < 5; i++) times.mark(`n${i}`, i);
  times.mark("n0", 9);
  const write = (batch: readonly Held[]) => Promise.resolve(void batches.push(batch));
  await times.flush(write, 2);
  await times.flush(write, 2);
  assert.deepEqual(batches.map((batch) => batch.length), [2, 2, 1]);
  assert.deepEqual(Object.fromEntries(batches.flat()), { n0: 9, n1: 1, n2: 2, n3: 3, n4: 4 });
});

Deno.test("what could not be written is held on, with what came meanwhile", async () => {
  const times = new HeldTimes();
  times.mark("a", 1);
  times.mark("b", 1);
  await assert.rejects(times.flush(() => {
    times.mark("b", 2);
    return Promise.reject(new Error("disk full"));
  }, 10));
  const written: Held[] = [];
  await times.flush((batch) => Promise.resolve(void written.push(...batch)), 10);
  assert.deepEqual(Object.fromEntries(written), { a: 1, b: 2 });
});

Deno.test("two flushes at once write one after the other", async () => {
  const times = new HeldTimes(), written: string[] = [];
  const begun = Promise.withResolvers<void>(), end = Promise.withResolvers<void>();
  times.mark("a", 1);
  const first = times.flush(async () => {
    begun.resolve();
    await end.promise;
    written.push("first");
  }, 10);
  await begun.promise;
  times.mark("b", 1);
  const second = times.flush(() => Promise.resolve(void written.push("second")), 10);
  end.resolve();
  await Promise.all([first, second]);
  assert.deepEqual(written, ["first", "second"]);
});
