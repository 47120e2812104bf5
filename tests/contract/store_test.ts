import { systemClock } from "../../src/clock.ts";
import { openPostgresStore } from "../../src/store/postgres.ts";
import { parsePostgresDsn } from "../../src/store/postgres_dsn.ts";
import { IN_MEMORY, openSqliteStore } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { requireComponent } from "../fixtures/component.ts";
import { type PgBouncer, startPgBouncer } from "../fixtures/pgbouncer.ts";
import { sharedPostgres } from "../fixtures/postgres.ts";
import { storeSuite } from "./store_suite.ts";

const clock = systemClock;

storeSuite("SQLite in memory", () => openSqliteStore(IN_MEMORY, { clock }));

storeSuite("SQLite in a file", async () => {
  const folder = await Deno.makeTempDir();
  const store = await openSqliteStore(`${folder}/openbox.db`, { clock });
  const close = store[Symbol.asyncDispose].bind(store);
  return Object.assign(store, {
    async [Symbol.asyncDispose]() {
      await close();
      await Deno.remove(folder, { recursive: true });
    },
  });
});

const present = requireComponent("initdb", "postgres", "pgbouncer");
if (!present.ignore) {
  const server = sharedPostgres();
  let bouncer: PgBouncer;
  Deno.test.beforeAll(async () => {
    bouncer = await startPgBouncer({ server: server() });
  });
  Deno.test.afterAll(async () => {
    await bouncer[Symbol.asyncDispose]();
  });

  const open = async (dsn: (database: string) => string): Promise<Store> =>
    await openPostgresStore(parsePostgresDsn(dsn(await server().newDatabase())), { clock });

  storeSuite("Postgres", () => open(server().dsn));
  storeSuite("Postgres through PgBouncer", () => open(bouncer.dsn));
}
