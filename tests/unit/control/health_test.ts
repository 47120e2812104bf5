import assert from "node:assert/strict";
import { systemClock } from "../../../src/clock.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";
import { assertRefused, startWorld } from "./world.ts";

/** A store whose `ping` is the one given. */
async function withPing(ping: () => Promise<void>): Promise<Store> {
  const store = await openSqliteStore(IN_MEMORY, { clock: systemClock });
  return new Proxy(store, {
    get: (target, name) => name === "ping" ? ping : Reflect.get(target, name),
  });
}

Deno.test("health asks the database", async () => {
  let asked = 0;
  const store = await withPing(() => Promise.resolve(void asked++));
  await using world = await startWorld({ store });
  const reply = await world.call("GET", "/health");
  assert.equal(reply.status, 200);
  assert.deepEqual(reply.body, { status: "ok" });
  assert.equal(asked, 1);
});

Deno.test("health is 503, naming the database, when that fails", async () => {
  const broken = new OpenboxError(
    "database_unavailable",
    "The control plane's database does not answer",
  );
  await using world = await startWorld({ store: await withPing(() => Promise.reject(broken)) });
  const reply = await world.call("GET", "/health");
  assertRefused(reply, 503, "database_unavailable");
  assert.match(reply.body.error, /database/);
});

Deno.test("health is 503 when the database takes longer than 3 seconds", async () => {
  await using world = await startWorld({ store: await withPing(() => new Promise(() => {})) });
  const started = performance.now();
  assertRefused(await world.call("GET", "/health"), 503, "database_unavailable");
  const took = performance.now() - started;
  assert.ok(took > 2500 && took < 10_000, `${took} ms`);
});

Deno.test("STO-3: without its database a call is 503, and says nothing of the inside", async () => {
  const store = await openSqliteStore(IN_MEMORY, { clock: systemClock });
  await using world = await startWorld({ store });
  await store[Symbol.asyncDispose]();
  const reply = await world.call("GET", "/v1/nodes", { token: world.token });
  assertRefused(reply, 503, "database_unavailable");
});

Deno.test("what fails without an explanation is 500, with an id and nothing of the inside", async () => {
  const store = await openSqliteStore(IN_MEMORY, { clock: systemClock });
  const failing = new Proxy(store, {
    get: (target, name) =>
      name === "nodes"
        ? () => Promise.reject(new TypeError("secret detail of src/store/x.ts"))
        : Reflect.get(target, name),
  });
  await using world = await startWorld({ store: failing });
  const reply = await world.call("GET", "/v1/nodes", { token: world.token });
  assertRefused(reply, 500, "internal");
  assert.doesNotMatch(reply.text, /secret detail/);
});
