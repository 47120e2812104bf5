import assert from "node:assert/strict";
import { createSerials, SERIAL_BLOCK } from "../../../src/control/serials.ts";

/** Blocks as the database gives them, after a while. */
function blocks() {
  let next = 1n, reserved = 0;
  return {
    get reserved() {
      return reserved;
    },
    async reserve(count: number) {
      reserved++;
      await Promise.resolve();
      const first = next;
      next += BigInt(count);
      return first;
    },
  };
}

Deno.test("CERT-29: a million serials of two allocators are a million numbers, a block a thousand", async () => {
  const from = blocks(), seen = new Uint8Array(1_000_001);
  const allocators = [createSerials(from.reserve), createSerials(from.reserve)];
  for (let i = 0; i < 500; i++) {
    const batch = Array.from({ length: 2000 }, (_, j) => allocators[j % 2]!());
    for (const serial of await Promise.all(batch)) seen[Number(serial)]!++;
  }
  assert.ok(seen.every((times, serial) => times === (serial === 0 ? 0 : 1)));
  assert.equal(from.reserved, 1_000_000 / SERIAL_BLOCK);
});

Deno.test("CERT-29: more callers at once than a block has numbers", async () => {
  const from = blocks(), next = createSerials(from.reserve);
  const serials = await Promise.all(Array.from({ length: 2 * SERIAL_BLOCK + 1 }, () => next()));
  assert.equal(new Set(serials).size, serials.length);
  assert.equal(from.reserved, 3);
});

Deno.test("a reservation that failed is tried again by the next caller", async () => {
  const from = blocks();
  let failing = true;
  const next = createSerials((count) =>
    failing ? Promise.reject(new Error("disk full")) : from.reserve(count)
  );
  await assert.rejects(next(), /disk full/);
  failing = false;
  assert.equal(await next(), 1n);
});
