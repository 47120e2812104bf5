import assert from "node:assert/strict";
import { formatDuration, parseDuration } from "../../../src/cli/duration.ts";

Deno.test("a duration is numbers with units; a plain number is seconds", () => {
  const read = (text: string) => parseDuration(text, "--timeout");
  assert.equal(read("90s"), 90_000);
  assert.equal(read("1h30m"), 5_400_000);
  assert.equal(read("500ms"), 500);
  assert.equal(read("1.5h"), 5_400_000);
  assert.equal(read("2d"), 172_800_000);
  assert.equal(read("1"), 1000);
  assert.equal(read("0.2"), 200);
});

Deno.test("what is none, or none that a timer holds, is refused", () => {
  for (
    const text of ["", "s", "1x", "-1s", "1 s", "1s ", "0", "0s", "1e9", "0.0001ms", "25d", "٣s"]
  ) {
    assert.throws(() => parseDuration(text, "--ttl"), { code: "usage" }, text);
  }
});

Deno.test("a duration is shown in its shortest form", () => {
  assert.equal(formatDuration(900_000), "15m");
  assert.equal(formatDuration(5_400_000), "1h30m");
  assert.equal(formatDuration(90_400), "1m30s");
  assert.equal(formatDuration(86_400_000), "1d");
  assert.equal(formatDuration(0), "0s");
});
