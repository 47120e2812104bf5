import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, text, utf8 } from "../../../../src/bytes.ts";
import { toExit } from "../../../../src/isolation/docker/exit.ts";
import { readFrames } from "../../../../src/isolation/docker/frames.ts";
import { createMarkedOutput } from "../../../../src/isolation/docker/output.ts";
import { readAll } from "../../../contract/isolation.ts";

const wireOf = (parts: readonly Uint8Array[]) => {
  const left = [...parts];
  return {
    read: () => Promise.resolve(left.shift()),
    write: () => Promise.resolve(),
    closeWrite: () => Promise.resolve(),
    [Symbol.dispose]() {},
  };
};

const frame = (fd: number, bytes: Uint8Array) => {
  const header = new Uint8Array([fd, 0, 0, 0, 0, 0, 0, 0]);
  new DataView(header.buffer).setUint32(4, bytes.length);
  return concat([header, bytes]);
};

/** Bytes in pieces as a connection may bring them. */
const cut = (bytes: Uint8Array, at: readonly number[]) => {
  const places = [0, ...at.map((share) => share % (bytes.length + 1)).sort((a, b) => a - b)];
  return places.map((from, i) => bytes.slice(from, places[i + 1] ?? bytes.length))
    .filter((part) => part.length > 0);
};

Deno.test("frames come apart wherever the connection cuts them", async () => {
  const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 40 })));
  await fc.assert(
    fc.asyncProperty(frames, fc.array(fc.nat()), async (frames, at) => {
      const said: Record<1 | 2, Uint8Array[]> = { 1: [], 2: [] };
      const all = concat(frames.map(([fd, bytes]) => frame(fd, bytes)));
      await readFrames(
        wireOf(cut(all, at)),
        (bytes) => void said[1].push(bytes),
        (bytes) => void said[2].push(bytes),
      );
      for (const fd of [1, 2] as const) {
        const sent = frames.filter(([of]) => of === fd).map(([, bytes]) => bytes);
        assert.deepEqual(concat(said[fd]), concat(sent));
      }
    }),
  );
});

Deno.test("what is no frame ends the reading", async () => {
  let said = "";
  const take = (bytes: Uint8Array) => void (said += text(bytes));
  await readFrames(wireOf([frame(1, utf8("a")), utf8("OCI runtime exec failed")]), take, take);
  assert.equal(said, "a");
});

Deno.test("an output ends at its mark, wherever it is cut, and holds back nothing else", async () => {
  const mark = utf8("\x16\x16m");
  const content = fc.array(fc.constantFrom(..."\x16m012"), { maxLength: 20 })
    .map((characters) => characters.join("")).filter((text) => !text.includes("\x16\x16m"));
  await fc.assert(
    fc.asyncProperty(content, fc.array(fc.nat()), async (content, at) => {
      // what may be the mark's beginning would be one with what follows
      fc.pre(!content.endsWith("\x16"));
      const output = createMarkedOutput(mark, () => {});
      const reading = readAll(output.stream);
      for (const part of cut(utf8(`${content}\x16\x16m042later`), at)) await output.push(part);
      assert.equal(await output.ended, 42);
      assert.equal(text(await reading), content);
    }),
  );
});

Deno.test("an output without a mark ends with its stream, and keeps all that came", async () => {
  const output = createMarkedOutput(utf8("mark"), () => {});
  void output.push(utf8("said ma"));
  output.end();
  assert.equal(await output.ended, undefined);
  assert.equal(text(await readAll(output.stream)), "said ma");
});

Deno.test("RUN-14: an output that nobody reads holds the stream back", async () => {
  const output = createMarkedOutput(undefined, () => {});
  let taken = 0, held = false;
  for (let i = 0; i < 10 && !held; i++) {
    const room = output.push(new Uint8Array(100_000));
    taken += 100_000;
    held = room !== undefined;
  }
  assert.ok(held && taken < 500_000);
  output.end();
  await output.stream.cancel();
});

Deno.test("RUN-5: a code above 128 is the signal that a shell means by it", () => {
  assert.deepEqual(toExit(127), { kind: "exit", code: 127 });
  assert.deepEqual(toExit(128), { kind: "exit", code: 128 });
  assert.deepEqual(toExit(137), { kind: "signal", signal: "KILL", number: 9 });
  assert.deepEqual(toExit(139), { kind: "signal", signal: "SEGV", number: 11 });
  assert.deepEqual(toExit(163), { kind: "signal", signal: "RT35", number: 35 });
  assert.deepEqual(toExit(160), { kind: "exit", code: 160 });
  assert.deepEqual(toExit(255), { kind: "exit", code: 255 });
});
