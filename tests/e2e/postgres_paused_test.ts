import assert from "node:assert/strict";
import { asOneCall } from "../../src/store/call_deadline.ts";
import { ENTRY } from "../fixtures/audit_entry.ts";
import { requireComponent } from "../fixtures/component.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { eventually } from "../fixtures/processes.ts";
import { startTcpProxy } from "../fixtures/tcp_proxy.ts";
import {
  assertAllKept,
  assertCalm,
  MOST_CONNECTIONS,
  pause,
  startLoad,
  startPostgresWorld,
} from "./postgres_world.ts";

const needs = requireComponent("initdb", "postgres");

Deno.test(
  "STO-11: Postgres stands still: health says so within 5 s, calls end in time, no crowd meets it",
  needs,
  async () => {
    await using server = await startPostgres({ settings: ["log_connections=on"] });
    const { database, world } = await startPostgresWorld(server);
    await using _ = world;
    const load = startLoad(world);
    await eventually("load", () => load.acknowledged.length > 50);
    const received = async () =>
      (await Deno.readTextFile(`${server.folder}/log`)).split("connection received").length;
    server.signal("SIGSTOP");
    const stopped = performance.now();
    const health = await world.call("GET", "/health");
    assert.equal(health.status, 503);
    assert.equal(health.body.code, "database_unavailable");
    assert.ok(performance.now() - stopped < 5000, "health took longer");
    const before = await received();
    await pause(6000);
    server.signal("SIGCONT");
    const back = performance.now();
    await eventually("it serves again", () => load.lastGood > back);
    assert.ok(load.lastGood - back < 5000);
    await pause(500);
    await load.end();
    assertCalm(load);
    // those that had queued up at the socket, and a pool full of new ones
    const crowd = await received() - before;
    assert.ok(crowd <= MOST_CONNECTIONS + 8, `${crowd} connections`);
    await assertAllKept(server, database, load);
  },
);

Deno.test(
  "STO-11: what one request asks of a database that stands still takes the time of one call in all",
  needs,
  async () => {
    await using server = await startPostgres();
    const { world } = await startPostgresWorld(server);
    await using _ = world;
    const { store } = world, started = performance.now();
    await asOneCall(async () => {
      await store.auditHead();
      server.signal("SIGSTOP");
      const calls = [() => store.auditHead(), () => store.recordAudit([ENTRY]), () => store.ping()];
      for (const call of calls) await assert.rejects(call(), { code: "database_unavailable" });
    });
    const took = performance.now() - started;
    server.signal("SIGCONT");
    assert.ok(took >= 2000 && took < 3000, `${took} ms`);
  },
);

Deno.test("NET-5: a wire that is cut without a word: calls end in time", needs, async () => {
  await using server = await startPostgres();
  await using proxy = startTcpProxy(() => server.port);
  const { world } = await startPostgresWorld(server, proxy.port);
  await using _ = world;
  const load = startLoad(world);
  await eventually("load", () => load.acknowledged.length > 20);
  proxy.mode = "blackhole";
  await pause(4000);
  proxy.mode = "pass";
  const back = performance.now();
  await eventually("it serves again", () => load.lastGood > back);
  await load.end();
  assertCalm(load);
});
