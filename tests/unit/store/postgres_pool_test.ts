import assert from "node:assert/strict";
import type { PostgresConnection } from "../../../src/store/postgres_connection.ts";
import { createPostgresPool } from "../../../src/store/postgres_pool.ts";

/** A server whose connections open as a test says. */
function fakeServer() {
  const it = {
    /** How the next ones open. */
    open: (): Promise<void> => Promise.resolve(),
    opening: 0,
    most: 0,
    tries: 0,
    made: [] as PostgresConnection[],
    async connect(onEnd: () => void, signal: AbortSignal): Promise<PostgresConnection> {
      it.tries++;
      it.most = Math.max(it.most, ++it.opening);
      try {
        const aborted = new Promise<never>((_, reject) =>
          signal.addEventListener("abort", () => reject(signal.reason), { once: true })
        );
        await Promise.race([it.open(), aborted]);
      } finally {
        it.opening--;
      }
      let alive = true;
      const destroy = () => {
        if (!alive) return;
        alive = false;
        onEnd();
      };
      const connection: PostgresConnection = {
        get alive() {
          return alive;
        },
        idleSince: 0,
        query: () => Promise.reject(new Error("not asked here")),
        commit: () => Promise.resolve(),
        destroy,
        close: () => Promise.resolve(destroy()),
      };
      it.made.push(connection);
      return connection;
    },
  };
  return it;
}

const inMs = (ms: number) => performance.now() + ms;

Deno.test("a connection is lent to one at a time, and used again", async () => {
  const server = fakeServer();
  await using pool = createPostgresPool({ connect: server.connect, max: 2 });
  const a = await pool.lend(inMs(1000)), b = await pool.lend(inMs(1000));
  assert.notEqual(a.connection, b.connection);
  const waiting = pool.lend(inMs(1000));
  a.giveBack();
  const c = await waiting;
  assert.equal(c.connection, a.connection);
  b.giveBack();
  c.giveBack();
  assert.equal(server.tries, 2);
  assert.equal(pool.size, 2);
});

Deno.test("with all in use a call ends at its deadline, and says so", async () => {
  const server = fakeServer();
  await using pool = createPostgresPool({ connect: server.connect, max: 1 });
  const lease = await pool.lend(inMs(1000));
  const started = performance.now();
  await assert.rejects(pool.lend(inMs(50)), /All connections to the database are in use/);
  assert.ok(performance.now() - started < 500);
  lease.giveBack();
});

Deno.test("what is not given back in time is cut, and its place is free", async () => {
  const server = fakeServer();
  await using pool = createPostgresPool({ connect: server.connect, max: 1 });
  const lease = await pool.lend(inMs(20));
  const next = await pool.lend(inMs(1000));
  assert.equal(lease.connection.alive, false);
  assert.notEqual(next.connection, lease.connection);
  lease.giveBack();
  next.giveBack();
  assert.equal(pool.size, 1);
});

Deno.test("STO-11: while the server is away one connection at a time tries, whatever waits", async () => {
  const server = fakeServer();
  server.open = () => Promise.reject(new Error("refused"));
  await using pool = createPostgresPool({ connect: server.connect, max: 10 });
  // the first to find out are as many as the pool has
  await assert.rejects(pool.lend(inMs(30)), /refused/);
  server.most = server.tries = 0;
  const calls = await Promise.allSettled(Array.from({ length: 50 }, () => pool.lend(inMs(300))));
  assert.ok(calls.every(({ status }) => status === "rejected"));
  assert.equal(server.most, 1);
  assert.ok(server.tries <= 10, `${server.tries} tries`);
  server.open = () => Promise.resolve();
  const lease = await pool.lend(inMs(3000));
  lease.giveBack();
});

Deno.test("closing ends those that wait, also for a server that is silent", async () => {
  const server = fakeServer();
  server.open = () => new Promise(() => {});
  const pool = createPostgresPool({ connect: server.connect, max: 1 });
  const waiting = assert.rejects(pool.lend(inMs(10_000)), /closed/);
  await pool[Symbol.asyncDispose]();
  await waiting;
  await assert.rejects(pool.lend(inMs(10_000)), /closed/);
});
