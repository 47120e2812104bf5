import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { openPostgresStore } from "../../src/store/postgres.ts";
import { parsePostgresDsn } from "../../src/store/postgres_dsn.ts";
import { requireComponent } from "../fixtures/component.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { eventually } from "../fixtures/processes.ts";
import { startWorld } from "../unit/control/world.ts";
import { startPostgresWorld } from "./postgres_world.ts";

const needs = requireComponent("initdb", "postgres");

Deno.test(
  "STO-13: the primary is lost, its standby takes over, and what takes no writes is never used",
  needs,
  async () => {
    await using primary = await startPostgres();
    const database = await primary.newDatabase();
    await using standby = await startPostgres({ standbyOf: primary });
    const { port } = standby;
    const dsn = parsePostgresDsn(
      // the standby first: it answers, and must be passed over
      primary.dsn(database, "target_session_attrs=read-write")
        .replace("127.0.0.1:", `127.0.0.1:${port},127.0.0.1:`),
    );
    const store = await openPostgresStore(dsn, { clock: systemClock });
    await using world = await startWorld({ store });
    const make = () =>
      world.call("POST", "/v1/enroll-tokens", { token: world.token, body: {} })
        .then(({ status }) => status);
    assert.equal(await make(), 200);
    await eventually(
      "the standby has it",
      async () =>
        await standby.query("select count(*) from enroll_tokens", database).catch(() => "") === "1",
    );
    await primary.kill();
    assert.equal(await make(), 503, "the standby answers, but takes no writes");
    assert.equal((await world.call("GET", "/health")).status, 503);
    await standby.query("select pg_promote()");
    await eventually("the new primary serves", async () => await make() === 200, 10_000);
    // the old one comes back and would take reads only
    await primary.start();
    await primary.query("alter system set default_transaction_read_only = on");
    await primary.query("select pg_reload_conf()");
    assert.equal(await make(), 200);
    assert.equal(await standby.query("select count(*) > 2 from enroll_tokens", database), "t");
  },
);

Deno.test(
  "STO-13: a server that turns read-only under open connections is left, and used again when it is not",
  needs,
  async () => {
    await using server = await startPostgres();
    const { database, world } = await startPostgresWorld(server);
    await using _ = world;
    const make = () =>
      world.call("POST", "/v1/enroll-tokens", { token: world.token, body: {} })
        .then(({ status }) => status);
    assert.equal(await make(), 200);
    const turn = async (value: "on" | "off") => {
      await server.query(`alter system set default_transaction_read_only = ${value}`);
      await server.query("select pg_reload_conf()");
      await eventually(
        `read-only ${value}`,
        async () => await server.query("show transaction_read_only", database) === value,
      );
    };
    await turn("on");
    assert.equal(await make(), 503);
    assert.equal((await world.call("GET", "/health")).status, 503);
    assert.equal((await world.call("GET", "/v1/nodes", { token: world.token })).status, 503);
    await turn("off");
    await eventually("it takes writes", async () => await make() === 200, 10_000);
  },
);
