import assert from "node:assert/strict";
import { Series } from "./watch.ts";

/** A value a second for three minutes. */
function series(value: (second: number) => number): Series {
  const series = new Series();
  for (let second = 0; second <= 180; second++) series.add(second, value(second));
  return series;
}

Deno.test("what commands hold while they run has not grown; what one in fifty leaves has", () => {
  const held = (second: number) => 30 + [0, 4, 2, 7][second % 4]!;
  assert.equal(series(held).grown(10), 0);
  const left = series((second) => held(second) + Math.floor(second * 10 / 50)).grown(10);
  assert.ok(left > 20 && left < 28, `${left}`);
});

Deno.test("how a process reaches its size is not counted", () => {
  assert.equal(series((second) => Math.min(second, 50)).grown(10), 0);
});
