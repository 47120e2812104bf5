import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { startPgBouncer } from "../fixtures/pgbouncer.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { eventually } from "../fixtures/processes.ts";
import { startTcpProxy } from "../fixtures/tcp_proxy.ts";
import {
  assertAllKept,
  assertCalm,
  connections,
  MOST_CONNECTIONS,
  pause,
  startLoad,
  startPostgresWorld,
} from "./postgres_world.ts";

const needs = requireComponent("initdb", "postgres");

Deno.test(
  "STO-9 KIL-6 NET-5: Postgres killed for 3 s under load: calls end in time, nothing acknowledged is lost",
  needs,
  async () => {
    await using server = await startPostgres();
    const { database, world } = await startPostgresWorld(server);
    await using _ = world;
    const load = startLoad(world);
    await eventually("load", () => load.acknowledged.length > 50);
    await server.kill();
    await pause(3000);
    assert.ok(load.statuses.has(503));
    await server.start();
    const back = performance.now();
    await eventually("it serves again", () => load.lastGood > back);
    const took = load.lastGood - back;
    await pause(500);
    const open = await connections(server, database);
    await load.end();
    assert.ok(took < 5000, `back after ${Math.round(took)} ms`);
    assert.ok(open <= MOST_CONNECTIONS, `${open} connections`);
    assertCalm(load);
    await assertAllKept(server, database, load);
  },
);

Deno.test(
  "STO-10: a pooler that accepts and closes for 6 s: every call ends in time, and then it serves",
  needs,
  async () => {
    await using server = await startPostgres();
    await using proxy = startTcpProxy(() => server.port);
    const { database, world } = await startPostgresWorld(server, proxy.port);
    await using _ = world;
    const load = startLoad(world);
    await eventually("load", () => load.acknowledged.length > 50);
    const before = proxy.accepted;
    proxy.mode = "close";
    proxy.cut();
    await pause(6000);
    const tries = proxy.accepted - before;
    proxy.mode = "pass";
    const back = performance.now();
    await eventually("it serves again", () => load.lastGood > back);
    await load.end();
    assertCalm(load);
    // one try at a time, with pauses in between: not one for each caller
    assert.ok(tries < 40, `${tries} connections in 6 s`);
    await assertAllKept(server, database, load);
  },
);

Deno.test(
  "STO-9 STO-10: behind PgBouncer the server is killed for 3 s: calls end in time, nothing acknowledged is lost",
  requireComponent("initdb", "postgres", "pgbouncer"),
  async () => {
    await using server = await startPostgres();
    await using bouncer = await startPgBouncer({ server });
    const { database, world } = await startPostgresWorld(server, bouncer.port);
    await using _ = world;
    const load = startLoad(world);
    await eventually("load", () => load.acknowledged.length > 50);
    await server.kill();
    await pause(3000);
    await server.start();
    const back = performance.now();
    await eventually("it serves again", () => load.lastGood > back, 10_000);
    await load.end();
    assertCalm(load);
    await assertAllKept(server, database, load);
  },
);
