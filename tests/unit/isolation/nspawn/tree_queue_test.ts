import assert from "node:assert/strict";
import { TreeQueue, type TreeUse } from "../../../../src/isolation/nspawn/tree_queue.ts";

const RUN: TreeUse = { shared: false, long: false };
const VOLATILE: TreeUse = { shared: true, long: false };
const SESSION: TreeUse = { shared: false, long: true };

/** Enters, and notes when it got in. */
function enterer(queue: TreeQueue) {
  const inside: string[] = [];
  const enter = async (name: string, use: TreeUse, signal?: AbortSignal) => {
    const turn = await queue.enter("/tree", use, { signal });
    inside.push(name);
    return turn;
  };
  return { inside, enter };
}

Deno.test("those that write have a tree one after another, in order of arrival", async () => {
  const { inside, enter } = enterer(new TreeQueue());
  const first = await enter("first", RUN);
  const second = enter("second", RUN), third = enter("third", RUN);
  assert.deepEqual(inside, ["first"]);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  (await second)[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  assert.deepEqual(inside, ["first", "second", "third"]);
});

Deno.test("those that leave it as it is have it together, and do not overtake", async () => {
  const { inside, enter } = enterer(new TreeQueue());
  const a = await enter("a", VOLATILE), b = await enter("b", VOLATILE);
  const writer = enter("writer", RUN), c = enter("c", VOLATILE);
  a[Symbol.dispose]();
  await Promise.resolve();
  assert.deepEqual(inside, ["a", "b"]);
  b[Symbol.dispose]();
  (await writer)[Symbol.dispose]();
  (await c)[Symbol.dispose]();
  assert.deepEqual(inside, ["a", "b", "writer", "c"]);
});

Deno.test("nobody waits for a session, neither for one that is there nor for one that comes", async () => {
  const { enter } = enterer(new TreeQueue());
  const run = await enter("run", RUN);
  const session = enter("session", SESSION), later = enter("later", RUN);
  const refused = assert.rejects(later, { code: "conflict", message: /A session has \/tree/ });
  run[Symbol.dispose]();
  using _session = await session;
  await refused;
  await assert.rejects(enter("another", VOLATILE), { code: "conflict" });
});

Deno.test("who gives up waiting, or waits too long, is out of the line", async () => {
  const queue = new TreeQueue({ waitMs: 20 });
  const { inside, enter } = enterer(queue);
  const run = await enter("run", RUN);
  const stop = new AbortController();
  const gaveUp = enter("gave up", RUN, stop.signal), late = enter("late", RUN);
  stop.abort(new Error("enough"));
  await assert.rejects(gaveUp, /enough/);
  await assert.rejects(late, { code: "too_many" });
  await assert.rejects(enter("aborted", RUN, stop.signal), /enough/);
  run[Symbol.dispose]();
  using _next = await enter("next", RUN);
  assert.deepEqual(inside, ["run", "next"]);
});
