import assert from "node:assert/strict";
import { Inbox } from "../../../src/ssh/inbox.ts";

function createInbox() {
  let consumed = 0;
  const inbox = new Inbox((bytes) => consumed += bytes);
  return { inbox, consumed: () => consumed };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (chunk: Uint8Array | null) => chunk && new TextDecoder().decode(chunk);

Deno.test("what is pushed is read in order, then the end", async () => {
  const { inbox, consumed } = createInbox();
  inbox.push(bytes("a"));
  inbox.push(new Uint8Array(10_000));
  inbox.push(bytes("b"));
  inbox.end();
  assert.equal(text(await inbox.read()), `a${"\0".repeat(10_000)}b`);
  assert.equal(await inbox.read(), null);
  assert.equal(await inbox.read(), null);
  assert.equal(consumed(), 10_002);
  await inbox.drained;
});

Deno.test("what waits is read in pieces of a quarter of a megabyte at most", async () => {
  const { inbox } = createInbox();
  for (let i = 0; i < 10; i++) inbox.push(new Uint8Array(100_000).fill(i));
  inbox.end();
  const lengths: number[] = [];
  for (let chunk = await inbox.read(); chunk; chunk = await inbox.read()) {
    lengths.push(chunk.length);
  }
  assert.deepEqual(lengths, [200_000, 200_000, 200_000, 200_000, 200_000]);
});

Deno.test("a waiting reader gets the next chunk, or the end", async () => {
  const { inbox, consumed } = createInbox();
  const first = inbox.read();
  assert.equal(consumed(), 0, "nothing is consumed before it is read");
  inbox.push(bytes("x"));
  assert.equal(text(await first), "x");
  const last = inbox.read();
  inbox.end();
  assert.equal(await last, null);
});

Deno.test("a million single bytes are joined, not kept one by one", async () => {
  const { inbox, consumed } = createInbox();
  for (let i = 0; i < 1_000_000; i++) inbox.push(new Uint8Array([i]));
  inbox.end();
  let chunks = 0, at = 0;
  for (let chunk = await inbox.read(); chunk; chunk = await inbox.read()) {
    chunks++;
    for (const byte of chunk) assert.equal(byte, at++ & 255);
  }
  assert.equal(at, 1_000_000);
  assert.equal(consumed(), 1_000_000);
  assert.ok(chunks < 100, `${chunks} chunks`);
});

Deno.test("a chunk that was read does not change when more is joined behind it", async () => {
  const { inbox } = createInbox();
  inbox.push(bytes("ab"));
  const read = (await inbox.read())!;
  inbox.push(bytes("cd"));
  assert.equal(text(read), "ab");
  assert.equal(text(await inbox.read()), "cd");
});

Deno.test("discarding gives the window back and ends the reader", async () => {
  const { inbox, consumed } = createInbox();
  inbox.push(bytes("abc"));
  inbox.discard();
  inbox.push(bytes("de"));
  assert.equal(consumed(), 5);
  assert.equal(await inbox.read(), null);
  inbox.end();
  await inbox.drained;
});
