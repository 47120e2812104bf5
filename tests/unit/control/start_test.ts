import assert from "node:assert/strict";
import { OpenboxError } from "../../../src/errors.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { eventually } from "../../fixtures/processes.ts";
import { startWorld } from "./world.ts";

/** A store whose `flush` is the one given, before its own. */
async function withFlush(clock: FakeClock, flush: () => void): Promise<Store> {
  const store = await openSqliteStore(IN_MEMORY, { clock });
  const own = store.flush;
  return Object.assign(store, {
    flush() {
      flush();
      return own();
    },
  });
}

Deno.test("STO-17: held times are written every 5 seconds, and when the database is back", async () => {
  const clock = new FakeClock();
  let flushed = 0, failing = false;
  const store = await withFlush(clock, () => {
    flushed++;
    if (failing) throw new OpenboxError("database_unavailable", "disk full");
  });
  await using _ = await startWorld({ clock, store });
  const round = async () => {
    const before = flushed;
    await eventually("both its loops sleep", () => clock.sleeping === 2);
    clock.advance(4999);
    assert.equal(flushed, before);
    clock.advance(1);
    await eventually("it flushes", () => flushed > before);
  };
  await round();
  failing = true;
  await round();
  await round();
  failing = false;
  await round();
});

Deno.test("the end writes what was held, and closes the database last", async () => {
  const clock = new FakeClock(), order: string[] = [];
  const store = await withFlush(clock, () => order.push("flush"));
  const close = store[Symbol.asyncDispose].bind(store);
  Object.assign(store, {
    [Symbol.asyncDispose]() {
      order.push("close");
      return close();
    },
  });
  const world = await startWorld({ clock, store });
  const answered = world.call("GET", "/v1/nodes", { token: world.token })
    .then(({ status }) => status, () => undefined);
  await world[Symbol.asyncDispose]();
  order.push("ended");
  assert.deepEqual(order, ["flush", "close", "ended"]);
  assert.ok([200, undefined].includes(await answered));
});

Deno.test("a start that fails leaves nothing open", async () => {
  const clock = new FakeClock();
  await assert.rejects(
    startWorld({ clock, env: { OPENBOX_CA_KEY: "not a key" } }),
    (error: OpenboxError) => error.code === "bad_file",
  );
});
