import assert from "node:assert/strict";
import { systemClock } from "../../../src/clock.ts";
import type { Code, OpenboxError } from "../../../src/errors.ts";
import { openPostgresStore } from "../../../src/store/postgres.ts";
import { parsePostgresDsn } from "../../../src/store/postgres_dsn.ts";
import type { Store } from "../../../src/store/store.ts";
import { addEnrollToken } from "../../contract/store_suite.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { sharedPostgres } from "../../fixtures/postgres.ts";
import { eventually } from "../../fixtures/processes.ts";

const FIXTURES = new URL("../../fixtures/", import.meta.url).pathname;
const present = requireComponent("initdb", "postgres");
const server = present.ignore ? undefined : sharedPostgres({
  settings: ["listen_addresses=127.0.0.1,127.0.0.2"],
  tls: { cert: `${FIXTURES}tls.crt`, key: `${FIXTURES}tls.key` },
});

const open = (database: string, parameters?: string): Promise<Store> =>
  openPostgresStore(parsePostgresDsn(server!().dsn(database, parameters)), { clock: systemClock });

const refuses = (code: Code, text: RegExp, call: Promise<unknown>) =>
  assert.rejects(call, (error: OpenboxError) => {
    assert.equal(error.code, code, String(error.cause ?? error));
    assert.match(`${error.message} ${error.hint}`, text);
    return true;
  });

Deno.test(
  "TLS: a certificate that is known is believed, others are not, and the name has to fit",
  present,
  async () => {
    const database = await server!().newDatabase();
    const root = encodeURIComponent(`${FIXTURES}tls.crt`);
    {
      await using store = await open(database, `sslmode=verify-full&sslrootcert=${root}`);
      await store.ping();
      assert.equal(
        await server!().query(
          `select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where datname = '${database}' and application_name = 'openbox'`,
        ),
        "t",
      );
    }
    await refuses(
      "bad_setting",
      /certificate is not believed.*sslrootcert/,
      open(database, "sslmode=require"),
    );
    const byOtherName = (query: string) =>
      openPostgresStore(
        parsePostgresDsn(server!().dsn(database, query).replace("@127.0.0.1:", "@127.0.0.2:")),
        { clock: systemClock },
      );
    await refuses(
      "bad_setting",
      /certificate is not believed/,
      byOtherName(`sslmode=verify-full&sslrootcert=${root}`),
    );
    await using issuerOnly = await byOtherName(`sslmode=verify-ca&sslrootcert=${root}`);
    await issuerOnly.ping();
    await using plain = await open(database, "sslmode=disable");
    await plain.ping();
    await using offered = await open(database);
    await offered.ping();
    await refuses(
      "bad_file",
      /sslrootcert \/nowhere/,
      open(database, "sslmode=verify-full&sslrootcert=/nowhere"),
    );
  },
);

Deno.test("TLS: a server that does not offer it, or says more than it may before it, is refused", async () => {
  for (const [answer, why] of [["N", /does not offer TLS/], ["Sx", undefined]] as const) {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = (async () => {
      for await (const conn of listener) {
        using _ = conn;
        await conn.read(new Uint8Array(8));
        await conn.write(new TextEncoder().encode(answer));
        await conn.read(new Uint8Array(1));
      }
    })();
    const { port } = listener.addr as Deno.NetAddr;
    const ending = new AbortController();
    const opening = openPostgresStore(
      parsePostgresDsn(`postgres://u@127.0.0.1:${port}/d?sslmode=verify-full`),
      { clock: systemClock, signal: ending.signal },
    );
    if (why) await refuses("bad_setting", why, opening);
    else {
      // it may be another one the next time: it is waited for, and never spoken to
      setTimeout(() => ending.abort(new Error("enough")), 300);
      await assert.rejects(opening, /enough/);
    }
    listener.close();
    await serving.catch(() => {});
  }
});

Deno.test(
  "a commit whose answer is lost is the database's failure, and is not done twice",
  present,
  async () => {
    const database = await server!().newDatabase();
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    let cutting = false, commits = 0;
    const copy = async (from: Deno.Conn, to: Deno.Conn, cut: boolean) => {
      const buffer = new Uint8Array(64 * 1024);
      try {
        for (let size; (size = await from.read(buffer)) !== null;) {
          const part = buffer.slice(0, size);
          const commit = cut && cutting &&
            new TextDecoder("latin1").decode(part).includes("commit");
          // the server gets it, and we never hear of it
          if (commit) {
            commits++;
            from.close();
          }
          await to.write(part);
          if (commit) break;
        }
      } catch {
        // the other end is gone
      }
      for (const conn of [from, to]) {
        try {
          conn.close();
        } catch {
          // it was before
        }
      }
    };
    const serving = (async () => {
      for await (const near of listener) {
        const far = await Deno.connect({ hostname: "127.0.0.1", port: server!().port });
        copy(near, far, true);
        copy(far, near, false);
      }
    })().catch(() => {});
    const { port } = listener.addr as Deno.NetAddr;
    {
      const dsn = server!().dsn(database, "sslmode=disable").replace(
        `:${server!().port}/`,
        `:${port}/`,
      );
      await using store = await openPostgresStore(parsePostgresDsn(dsn), { clock: systemClock });
      const user = await store.ensureFirstUser("me", 1, ENTRY);
      cutting = true;
      await refuses("database_unavailable", /./, addEnrollToken(store, user, "s"));
      cutting = false;
      assert.equal(commits, 1);
      await store.ping();
      await eventually(
        "it was done, once",
        async () => await server!().query("select count(*) from enroll_tokens", database) === "1",
      );
    }
    listener.close();
    await serving;
  },
);
