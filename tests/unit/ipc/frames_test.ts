import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, text, utf8 } from "../../../src/bytes.ts";
import {
  FrameError,
  FrameReader,
  FrameWriter,
  KIND,
  MAX_FRAME,
  readJson,
} from "../../../src/ipc/frames.ts";
import { ReadCount, Window } from "../../../src/ipc/window.ts";
import { WINDOW } from "../../../src/ipc/frames.ts";

/** A stream that gives these pieces, one a read, and then its end. */
function stream(pieces: readonly Uint8Array[]) {
  const waiting = [...pieces];
  return {
    read(buffer: Uint8Array): Promise<number | null> {
      const piece = waiting.shift();
      if (!piece) return Promise.resolve(null);
      const count = Math.min(piece.length, buffer.length);
      buffer.set(piece.subarray(0, count));
      if (count < piece.length) waiting.unshift(piece.subarray(count));
      return Promise.resolve(count);
    },
  };
}

/** What a writer makes of these frames, as the writes that it made. */
async function written(frames: readonly (readonly [number, Uint8Array])[]): Promise<Uint8Array[]> {
  const writes: Uint8Array[] = [];
  const writer = new FrameWriter({
    write(bytes) {
      writes.push(bytes.slice());
      return Promise.resolve(bytes.length);
    },
  });
  for (const [kind, payload] of frames) writer.send(kind as 1, payload);
  await writer.flush();
  return writes;
}

async function readAll(reader: FrameReader): Promise<[number, Uint8Array][]> {
  const frames: [number, Uint8Array][] = [];
  for (let frame; (frame = await reader.next());) frames.push([frame.kind, frame.payload.slice()]);
  return frames;
}

Deno.test("frames come back as they were sent, however the bytes are cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 300 }))),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
      async (frames, cuts) => {
        const bytes = concat(await written(frames));
        const pieces: Uint8Array[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const length = cuts[i % cuts.length]!;
          pieces.push(bytes.subarray(at, at + length));
          at += length;
        }
        assert.deepEqual(
          await readAll(new FrameReader(stream(pieces))),
          frames.map(([kind, payload]) => [kind, new Uint8Array(payload)]),
        );
      },
    ),
    { seed: 6, numRuns: 300 },
  );
});

Deno.test("frames of all sizes up to the largest pass, one behind the other", async () => {
  const sizes = [0, 1, 65_536, MAX_FRAME, 3, MAX_FRAME - 1, 0];
  const frames = sizes.map((size, i) => [i, new Uint8Array(size).fill(i)] as [number, Uint8Array]);
  const bytes = concat(await written(frames));
  assert.deepEqual(await readAll(new FrameReader(stream([bytes]))), frames);
});

Deno.test("what is sent in one turn leaves in one write, unless it is large", async () => {
  assert.equal((await written([[1, utf8("a")], [2, utf8("b")], [3, utf8("c")]])).length, 1);
  assert.equal((await written([[1, new Uint8Array(70_000)], [2, utf8("b")]])).length, 2);
});

Deno.test("DMN-12: a frame longer than 1 MiB is refused before it is read", async () => {
  for (const length of [MAX_FRAME + 1, 2 ** 31, 2 ** 32 - 1]) {
    const header = new Uint8Array(5);
    new DataView(header.buffer).setUint32(0, length);
    await assert.rejects(new FrameReader(stream([header])).next(), FrameError);
  }
});

Deno.test("DMN-12: an end inside a frame is no end", async () => {
  const whole = concat(await written([[KIND.STDOUT, utf8("some output")]]));
  for (let length = 1; length < whole.length; length++) {
    await assert.rejects(new FrameReader(stream([whole.subarray(0, length)])).next(), FrameError);
  }
});

Deno.test("DMN-12: any bytes are frames, an error or an end, and never more than was there", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
      let seen = 0;
      try {
        for (const [, payload] of await readAll(new FrameReader(stream([new Uint8Array(bytes)])))) {
          seen += 5 + payload.length;
        }
      } catch (error) {
        assert(error instanceof FrameError);
      }
      assert(seen <= bytes.length);
    }),
    { seed: 12, numRuns: 500 },
  );
});

Deno.test("JSON that is no object is none", () => {
  assert.deepEqual(readJson(utf8('{"a":1}')), { a: 1 });
  for (const bad of ["", "{", "[]", "null", "1", '"x"']) {
    assert.equal(readJson(utf8(bad)), undefined);
  }
});

Deno.test("a writer whose reader is gone fails no caller", async () => {
  const writer = new FrameWriter({ write: () => Promise.reject(new Error("gone")) });
  writer.send(KIND.INPUT, utf8("a"));
  await writer.flush();
  writer.send(KIND.INPUT, utf8("b"));
  await writer.flush();
});

Deno.test("a window lets out what was granted, and waits for more", async () => {
  const window = new Window();
  assert.equal(await window.take(WINDOW + 5), WINDOW);
  const waiting = window.take(10);
  assert.equal(await Promise.race([waiting, Promise.resolve("waits")]), "waits");
  assert.equal(window.grant(4), true);
  assert.equal(await waiting, 4);
  assert.equal(window.grant(WINDOW + 1), false, "more than was ever sent");
  const last = window.take(10);
  window.close();
  assert.equal(await last, 0);
});

Deno.test("what was read is told in large parts", () => {
  const told: number[] = [];
  const count = new ReadCount((bytes) => told.push(bytes));
  for (let i = 0; i < 9; i++) count.add(WINDOW / 8);
  assert.deepEqual(told, [WINDOW / 4, WINDOW / 4, WINDOW / 4, WINDOW / 4]);
});

Deno.test("text of a frame is its own once the next is read", async () => {
  const bytes = concat(await written([[1, utf8("one")], [2, utf8("two")]]));
  const reader = new FrameReader(stream([bytes]));
  assert.equal(text((await reader.next())!.payload), "one");
  assert.equal(text((await reader.next())!.payload), "two");
  assert.equal(await reader.next(), null);
});
