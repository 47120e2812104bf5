import assert from "node:assert/strict";
import { createRateLimit } from "../../../src/control/rate_limit.ts";
import { FakeClock } from "../../fakes/clock.ts";

Deno.test("a bucket gives what is in it, and fills with time", () => {
  const clock = new FakeClock(), limit = createRateLimit({ perSecond: 2, burst: 3 }, clock);
  assert.deepEqual([1, 2, 3, 4].map(() => limit.take("a")), [0, 0, 0, 1]);
  clock.advance(500);
  assert.deepEqual([limit.take("a"), limit.take("a")], [0, 1]);
  clock.advance(60_000);
  assert.deepEqual([1, 2, 3, 4].map(() => limit.take("a")), [0, 0, 0, 1]);
});

Deno.test("one key's use is not another's", () => {
  const limit = createRateLimit({ perSecond: 1, burst: 1 }, new FakeClock());
  assert.deepEqual([limit.take("a"), limit.take("a"), limit.take("b")], [0, 1, 0]);
});

Deno.test("the wait that is told is enough", () => {
  const clock = new FakeClock(), limit = createRateLimit({ perSecond: 1 / 3, burst: 1 }, clock);
  limit.take("a");
  const wait = limit.take("a");
  assert.equal(wait, 3);
  clock.advance(wait * 1000);
  assert.equal(limit.take("a"), 0);
});

Deno.test("CLK-2: a clock that was set back gives nothing and takes nothing", () => {
  const clock = new FakeClock(), limit = createRateLimit({ perSecond: 1, burst: 2 }, clock);
  limit.take("a");
  clock.advance(-3600_000);
  assert.deepEqual([limit.take("a"), limit.take("a")], [0, 1]);
  clock.advance(1000);
  assert.equal(limit.take("a"), 0);
});

Deno.test("TOK-2: of a million sources the newest are remembered, and no more", () => {
  const limit = createRateLimit({ perSecond: 1, burst: 1 }, new FakeClock());
  for (let i = 0; i < 1_000_000; i++) limit.take(`source ${i}`);
  assert.equal(limit.take("source 999999"), 1);
  assert.equal(limit.take("source 990001"), 1);
  assert.equal(limit.take("source 979999"), 0);
});
