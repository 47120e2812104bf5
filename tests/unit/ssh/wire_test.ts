import assert from "node:assert/strict";
import { MalformedError, Reader, str, u32, u64 } from "../../../src/ssh/wire.ts";

Deno.test("a string is its length and its bytes", () => {
  assert.equal(str("né").toString("hex"), "00000003" + "6ec3a9");
  assert.equal(u32(0xfffffffe).toString("hex"), "fffffffe");
  assert.equal(u64(2n ** 63n).toString("hex"), "8000000000000000");
});

Deno.test("a reader takes what was written, in order, and knows its end", () => {
  const reader = new Reader(new Uint8Array([...u32(7), ...u64(9n), ...str("x"), 1]));
  assert.deepEqual([reader.u32(), reader.u64(), reader.text(), reader.byte()], [7, 9n, "x", 1]);
  assert.ok(reader.done);
  reader.end();
});

Deno.test("a reader refuses lengths beyond its bytes, whatever they claim", () => {
  for (const length of [5, 0x7fffffff, 0xffffffff]) {
    const bytes = new Uint8Array([...u32(length), 1, 2, 3, 4]);
    assert.throws(() => new Reader(bytes).bytes(), MalformedError);
  }
  assert.throws(() => new Reader(new Uint8Array(3)).u32(), MalformedError);
  assert.throws(() => new Reader(new Uint8Array(1)).end(), MalformedError);
});

Deno.test("a reader refuses text that is not UTF-8 instead of replacing it", () => {
  assert.throws(() => new Reader(str(new Uint8Array([0x61, 0xff]))).text(), MalformedError);
});

Deno.test("a reader over a part of a buffer does not see the rest", () => {
  const whole = new Uint8Array([9, 9, ...str("ab"), 9]);
  const reader = new Reader(whole.subarray(2, 8));
  assert.equal(reader.text(), "ab");
  assert.ok(reader.done);
});
