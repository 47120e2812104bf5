import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../../../src/bytes.ts";
import { parseStrictJson } from "../../../src/control/strict_json.ts";

const parse = (text: string) => parseStrictJson(utf8(text));
const refuses = (text: string | Uint8Array, why: RegExp) =>
  assert.throws(() => parseStrictJson(typeof text === "string" ? utf8(text) : text), {
    code: "bad_request",
    message: why,
  });

Deno.test("TOK-8: what two readers could read differently is refused", () => {
  refuses(`{"a":1,"a":2}`, /"a" stands twice/);
  refuses(`{"a":1,"\\u0061":2}`, /"a" stands twice/);
  refuses(`{"b":[{"a":1,"c":{},"a":2}]}`, /"a" stands twice/);
  refuses(`{"__proto__":{"admin":true}}`, /__proto__/);
  refuses(`{"a":{"\\u005f_proto__":1}}`, /__proto__/);
  refuses(`{"a":"\\ud800"}`, /surrogate/);
  refuses(`{"\\udc00":1}`, /surrogate/);
  refuses(new Uint8Array([0x22, 0xff, 0x22]), /UTF-8/);
  refuses(`\ufeff{}`, /JSON/);
});

Deno.test("TOK-8: what is no JSON is refused", () => {
  for (
    const text of ["{", "{'a':1}", `{"a":NaN}`, "Infinity", `{"a":1,}`, "{}{}", `"\t"`, `"`, "\\"]
  ) {
    refuses(text, /JSON/);
  }
});

Deno.test("TOK-8: nesting is limited, and neither depth nor quotes take long", () => {
  assert.deepEqual(
    parse("[".repeat(16) + "]".repeat(16)),
    JSON.parse("[".repeat(16) + "]".repeat(16)),
  );
  refuses("[".repeat(17) + "]".repeat(17), /deep/);
  const started = performance.now();
  refuses("[".repeat(32_000) + "]".repeat(32_000), /deep/);
  refuses(`{"a":`.repeat(10_000) + "1" + "}".repeat(10_000), /deep/);
  refuses("[".repeat(65_536), /JSON/);
  refuses(`"${`\\"`.repeat(32_000)}`, /JSON/);
  refuses(`"`.repeat(65_536), /JSON/);
  assert.ok(performance.now() - started < 5000);
});

Deno.test("equal keys of different objects, and brackets in strings, are nothing special", () => {
  const text = `{"a":[{"a":1},{"a":"}{]["}],"b":"\\"a\\":","c":{"a":"\\ud83d\\ude00"}}`;
  assert.deepEqual(parse(text), JSON.parse(text));
});

Deno.test("all other JSON is read as JSON.parse reads it", () => {
  fc.assert(fc.property(fc.json({ maxDepth: 8 }), (text) => {
    if (/__proto__|\\ud[89a-f]/i.test(text) || !text.isWellFormed()) return;
    assert.deepEqual(parse(text), JSON.parse(text));
  }));
});
