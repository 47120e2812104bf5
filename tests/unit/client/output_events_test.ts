import assert from "node:assert/strict";
import fc from "fast-check";
import { createEventMaker, type OutputEvent } from "../../../src/client/output_events.ts";
import { concat, utf8 } from "../../../src/bytes.ts";

function events(chunks: readonly Uint8Array[]): OutputEvent[] {
  const maker = createEventMaker("stdout");
  return [...chunks.flatMap((chunk) => maker.push(chunk)), ...maker.end()];
}

const bytesOf = ({ data, encoding }: OutputEvent): Uint8Array =>
  encoding === "base64" ? Uint8Array.fromBase64(data) : utf8(data);

/** `bytes` cut at these places. */
const cut = (bytes: Uint8Array, places: readonly number[]): Uint8Array[] => {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)];
  return [...at, bytes.length].slice(1).map((end, i) => bytes.subarray(at[i], end));
};

Deno.test("text stays text however it is cut: no character is split between events", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.array(fc.nat()), (text, places) => {
      const made = events(cut(utf8(text), places));
      assert(made.every((event) => event.encoding === undefined));
      assert.equal(made.map((event) => event.data).join(""), text.toWellFormed());
    }),
  );
});

Deno.test("any bytes come back from their events", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat()), (bytes, places) => {
      const back = concat(events(cut(bytes, places)).map(bytesOf));
      assert.deepEqual([...back], [...bytes]);
    }),
  );
});

Deno.test("a character that never ends is told at the end, as bytes", () => {
  assert.deepEqual(events([new Uint8Array([0x61, 0xe2, 0x82])]), [
    { stream: "stdout", data: "a" },
    { stream: "stdout", data: "4oI=", encoding: "base64" },
  ]);
  assert.deepEqual(events([new Uint8Array([0xef, 0xbb, 0xbf, 0x61])]), [
    { stream: "stdout", data: "\ufeffa" },
  ]);
});
