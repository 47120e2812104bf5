/** A control plane on a Postgres of the test's own, and callers who keep it busy while that has troubles. */
import assert from "node:assert/strict";
import { parseEnrollToken } from "../../src/ca/enroll_proof.ts";
import { systemClock } from "../../src/clock.ts";
import { openPostgresStore } from "../../src/store/postgres.ts";
import { parsePostgresDsn } from "../../src/store/postgres_dsn.ts";
import { tokenHash } from "../../src/store/token_hash.ts";
import type { PostgresServer } from "../fixtures/postgres.ts";
import { startWorld, type World } from "../unit/control/world.ts";

/** What a call may take, and what a loaded machine of two cores adds. */
const CALL_MS = 3000, SLACK_MS = 1500;
export const MOST_CONNECTIONS = 10;

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export interface Load {
  /** Secrets of enrollment tokens that were acknowledged. */
  readonly acknowledged: Uint8Array[];
  readonly statuses: Map<number, number>;
  slowest: number;
  /** When a call last succeeded. */
  lastGood: number;
  end(): Promise<void>;
}

/** Callers that make enrollment tokens and look at nodes, one call after the other. */
export function startLoad(world: World, callers = 8): Load {
  let ending = false;
  const load: Load = {
    acknowledged: [],
    statuses: new Map(),
    slowest: 0,
    lastGood: 0,
    async end() {
      ending = true;
      await working;
    },
  };
  async function work(i: number): Promise<void> {
    for (let n = 0; !ending; n++) {
      const started = performance.now();
      const makes = (i + n) % 2 === 0;
      const reply = await world.call(
        makes ? "POST" : "GET",
        makes ? "/v1/enroll-tokens" : "/v1/nodes",
        { token: world.token, ...(makes && { body: {} }) },
      );
      load.slowest = Math.max(load.slowest, performance.now() - started);
      load.statuses.set(reply.status, (load.statuses.get(reply.status) ?? 0) + 1);
      if (reply.status !== 200) continue;
      load.lastGood = performance.now();
      if (makes) load.acknowledged.push(tokenHash(parseEnrollToken(reply.body.token)!.secret));
    }
  }
  const working = Promise.all(Array.from({ length: callers }, (_, i) => work(i)));
  return load;
}

export async function startPostgresWorld(server: PostgresServer, port = server.port) {
  const database = await server.newDatabase();
  const dsn = server.dsn(database).replace(`:${server.port}/`, `:${port}/`);
  const store = await openPostgresStore(parsePostgresDsn(dsn), {
    clock: systemClock,
    maxConnections: MOST_CONNECTIONS,
  });
  return { database, world: await startWorld({ store }) };
}

export const connections = async (server: PostgresServer, database: string): Promise<number> =>
  Number(
    await server.query(`select count(*) from pg_stat_activity where datname = '${database}'`),
  );

/** What was acknowledged is in the database. */
export async function assertAllKept(server: PostgresServer, database: string, load: Load) {
  const kept = new Set(
    (await server.query("select encode(hash, 'hex') from enroll_tokens", database)).split("\n"),
  );
  for (const hash of load.acknowledged) assert.ok(kept.has(hash.toHex()), "acknowledged, and lost");
  assert.ok(load.acknowledged.length > 0);
}

const seconds = (ms: number) => `${Math.round(ms)} ms`;
/** Every call was answered in time, with success or with 503. */
export const assertCalm = (load: Load): void => {
  assert.deepEqual([...load.statuses.keys()].sort(), [200, 503]);
  assert.ok(load.slowest < CALL_MS + SLACK_MS, `a call took ${seconds(load.slowest)}`);
};
