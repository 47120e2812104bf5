import assert from "node:assert/strict";
import { systemClock } from "../../../src/clock.ts";
import type { Code, OpenboxError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { openPostgresStore } from "../../../src/store/postgres.ts";
import { connectPostgres } from "../../../src/store/postgres_connection.ts";
import { parsePostgresDsn } from "../../../src/store/postgres_dsn.ts";
import type { Store, User } from "../../../src/store/store.ts";
import { addEnrollToken, enroll, registration, userToken } from "../../contract/store_suite.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { POSTGRES_PASSWORD, sharedPostgres } from "../../fixtures/postgres.ts";
import { eventually } from "../../fixtures/processes.ts";
import { takenAwayUnrecorded, UNRECORDED } from "./taken_away.ts";

const NOW = Date.UTC(2026, 0, 1);
const present = requireComponent("initdb", "postgres");
const server = present.ignore ? undefined : sharedPostgres();

const open = (database: string, parameters?: string): Promise<Store> =>
  openPostgresStore(parsePostgresDsn(server!().dsn(database, parameters)), { clock: systemClock });

const refuses = (code: Code, text: RegExp, call: Promise<unknown>) =>
  assert.rejects(call, (error: OpenboxError) => {
    assert.equal(error.code, code, String(error.cause ?? error));
    assert.match(`${error.message} ${error.hint}`, text);
    return true;
  });

/** Two control planes' stores on one database, both new. */
function pair(name: string, run: (a: Store, b: Store, database: string) => Promise<void>): void {
  Deno.test(name, present, async () => {
    const database = await server!().newDatabase();
    await using stack = new AsyncDisposableStack();
    const [a, b] = await Promise.all([open(database), open(database)]);
    stack.use(a);
    stack.use(b);
    await run(a, b, database);
  });
}

const me = (store: Store): Promise<User> =>
  store.ensureFirstUser("me", NOW, { ...ENTRY, action: "user.add" });

pair(
  "STO-15 STO-7: of two that start at once one migrates, and one makes the first user",
  async (a, b, database) => {
    const users = await Promise.all(Array.from({ length: 20 }, (_, i) => me(i % 2 ? a : b)));
    assert.equal(new Set(users.map(({ id }) => id)).size, 1);
    const count = (table: string) => server!().query(`select count(*) from ${table}`, database);
    assert.deepEqual([await count("users"), await count("accounts")], ["1", "1"]);
    assert.equal(await count("audit where action = 'user.add'"), "1");
  },
);

pair(
  "STO-15 ENR-1: of 60 callers of two control planes with one enrollment token one wins",
  async (a, b) => {
    const user = await me(a);
    await addEnrollToken(a, user, "s");
    const outcomes = await Promise.allSettled(
      Array.from(
        { length: 60 },
        (_, i) => (i % 2 ? a : b).registerNode(registration("s", { hostKey: `k${i}` }), ENTRY),
      ),
    );
    const codes = outcomes.map((outcome) =>
      outcome.status === "fulfilled" ? "ok" : (outcome.reason as OpenboxError).code
    ).sort();
    assert.deepEqual(codes, [...Array(59).fill("enroll_token_used"), "ok"]);
    assert.equal((await b.nodes(user.accountId, {})).length, 1);
  },
);

pair(
  "STO-15: of two that register one host key one wins, and the other keeps its token",
  async (a, b) => {
    const user = await me(a);
    for (const secret of ["s1", "s2"]) await addEnrollToken(a, user, secret);
    const outcomes = await Promise.allSettled(
      [a, b].map((store, i) => store.registerNode(registration(`s${i + 1}`), ENTRY)),
    );
    assert.deepEqual(
      outcomes.map((outcome) =>
        outcome.status === "fulfilled" ? "ok" : (outcome.reason as OpenboxError).code
      ).sort(),
      ["conflict", "ok"],
    );
    const lost = outcomes.findIndex(({ status }) => status === "rejected") + 1;
    await a.registerNode(registration(`s${lost}`, { hostKey: "another" }), ENTRY);
  },
);

pair("STO-15 SEQ-2: callers of two control planes get a session's one node", async (a, b) => {
  const user = await me(a);
  const nodes = [await enroll(a, user, "x"), await enroll(b, user, "y")];
  const bound = await Promise.all(Array.from({ length: 40 }, (_, i) =>
    (i % 2 ? a : b).bindSession(
      user,
      "build",
      { nodeId: nodes[i % 2]!.id, isolation: "native" },
      NOW,
      ENTRY,
    )));
  assert.equal(bound.filter(({ created }) => created).length, 1);
  assert.equal(new Set(bound.map(({ node }) => node.id)).size, 1);
});

pair("STO-15 AUD-3: two control planes append to one chain without a fork", async (a, b) => {
  const user = await me(a);
  await Promise.all(
    Array.from(
      { length: 200 },
      (_, i) =>
        (i % 2 ? a : b).recordAudit([{ ...ENTRY, accountId: user.accountId, subject: `s${i}` }]),
    ),
  );
  const { head, bad } = await b.verifyAudit({});
  assert.equal(bad, undefined);
  const records = await a.auditRecords(user.accountId, { after: 0, limit: 1000 });
  assert.equal(records.filter(({ subject }) => subject?.startsWith("s")).length, 200);
  assert.equal(records.at(-1)!.seq, head.seq);
});

pair("STO-15 CERT-29: two control planes never give one serial twice", async (a, b) => {
  const blocks = await Promise.all(
    Array.from({ length: 60 }, (_, i) => (i % 2 ? a : b).reserveSerials(10, NOW)),
  );
  assert.equal(new Set(blocks).size, 60);
});

pair("a node is deleted, or a session bound to it, and never both", async (a, b) => {
  const user = await me(a);
  for (let round = 0; round < 15; round++) {
    const { id: nodeId } = await enroll(a, user, `n${round}`);
    const [bound] = await Promise.allSettled([
      a.bindSession(user, `s${round}`, { nodeId, isolation: "native" }, NOW, ENTRY),
      b.deleteNode(user.accountId, nodeId, NOW, ENTRY),
    ]);
    if (bound.status === "rejected") assert.equal(bound.reason.code, "node_not_found");
    assert.equal(await a.binding(user, `s${round}`, NOW), undefined);
  }
});

pair(
  "what one control plane hears the other shows after a flush, and no time goes back",
  async (a, b) => {
    const user = await me(a);
    const { id } = await enroll(a, user, "mini");
    const node = (await a.nodeByToken(new Secret("token of mini")))!;
    const beat = { addr: undefined, version: undefined, bootId: undefined };
    await a.recordBeat(node, { ...beat, now: NOW + 100 });
    await a.flush();
    assert.equal((await b.node(user.accountId, id))?.lastSeenAt, NOW + 100);
    await b.recordBeat(node, { ...beat, now: NOW + 50 });
    await b.flush();
    assert.equal((await a.node(user.accountId, id))?.lastSeenAt, NOW + 100);
    await b.bindSession(user, "s", { nodeId: id, isolation: "native" }, NOW, ENTRY);
    await a.binding(user, "s", NOW + 7);
    await a.flush();
    assert.equal((await b.sessions(user))[0]!.lastUsedAt, NOW + 7);
  },
);

pair(
  "STO-17: 10,000 beats of two control planes are written in batches, side by side",
  async (a, b) => {
    const user = await me(a);
    await enroll(a, user, "mini");
    const node = (await a.nodeByToken(new Secret("token of mini")))!;
    const beat = { addr: undefined, version: undefined, bootId: undefined };
    for (let i = 0; i < 10_000; i++) {
      const store = i % 2 ? a : b;
      await store.recordBeat({ ...node, id: i < 2 ? node.id : `node_${i}`, storedSeenAt: NOW }, {
        ...beat,
        now: NOW + i,
      });
    }
    const started = performance.now();
    await Promise.all([a.flush(), b.flush()]);
    assert.ok(performance.now() - started < 5000);
    assert.equal((await a.node(user.accountId, node.id))?.lastSeenAt, NOW + 1);
  },
);

pair(
  "a lock that somebody holds ends a call in time, and undoes nothing else",
  async (a, _b, database) => {
    const user = await me(a);
    const { id } = await enroll(a, user, "mini");
    // somebody's console, left open in a transaction
    const holding = server!().query(
      `begin; update nodes set os = os where id = '${id}'; select pg_sleep(4); commit`,
      database,
    );
    await eventually("it is held", async () =>
      await server!().query(
        "select count(*) from pg_stat_activity where query like '%pg_sleep(4)%' and wait_event = 'PgSleep'",
      ) === "1");
    const started = performance.now();
    const update = a.updateNode(user.accountId, id, { name: "n", tags: [] }, ENTRY);
    await refuses("database_unavailable", /./, update);
    assert.ok(performance.now() - started < 3500);
    assert.equal((await a.node(user.accountId, id))?.name, "mini", "others are served meanwhile");
    await holding;
    assert.equal((await a.node(user.accountId, id))?.name, "mini", "it was not done later");
    assert.ok(await a.updateNode(user.accountId, id, { name: "n", tags: [] }, ENTRY));
  },
);

/** Somebody's console, left open in a transaction that did this, until it is let go. */
async function holding(
  sql: string,
  database: string,
): Promise<{ letGo(): Promise<void> } & AsyncDisposable> {
  const sleeping = `from pg_stat_activity where datname = '${database}' and wait_event = 'PgSleep'`;
  const held = server!().query(`begin; ${sql}; select pg_sleep(60)`, database).catch(() => {});
  await eventually(
    "it is held",
    async () => await server!().query(`select count(*) ${sleeping}`) === "1",
  );
  const letGo = async () => {
    await server!().query(`select pg_terminate_backend(pid) ${sleeping}`);
    await held;
  };
  return { letGo, [Symbol.asyncDispose]: letGo };
}

pair(
  "who waits for a node's row does not hold up the audit of the others",
  async (a, b, database) => {
    const user = await me(a);
    await enroll(a, user, "mini");
    const node = (await a.nodeByToken(new Secret("token of mini")))!;
    await using somebody = await holding("update nodes set os = os", database);
    const report = Promise.allSettled([
      a.recordRunEvents(node, "spool", [{ n: 1, entry: ENTRY }]),
    ]);
    await eventually(
      "the report waits",
      async () =>
        await server!().query("select count(*) from pg_locks where not granted", database) === "1",
    );
    const [other] = await Promise.allSettled([b.recordAudit([{ ...ENTRY, subject: "other" }])]);
    await somebody.letGo();
    assert.deepEqual([other.status, (await report)[0].status], ["fulfilled", "fulfilled"]);
  },
);

pair(
  "a copy that beats while its row is held is not noted after the call has failed",
  async (a, _b, database) => {
    const user = await me(a);
    await enroll(a, user, "mini");
    const node = (await a.nodeByToken(new Secret("token of mini")))!;
    await using somebody = await holding("update nodes set os = os", database);
    await refuses("database_unavailable", /./, a.recordClone(node, NOW));
    await somebody.letGo();
    await eventually(
      "nobody waits",
      async () =>
        await server!().query("select count(*) from pg_locks where not granted", database) === "0",
    );
    assert.equal((await a.nodeByToken(new Secret("token of mini")))!.clonedAt, undefined);
  },
);

/** An ephemeral node, whose id is returned. */
async function joinForAWhile(store: Store, user: User, name: string): Promise<string> {
  await store.addEnrollToken({
    accountId: user.accountId,
    createdBy: user.id,
    secret: new Secret(name),
    tags: [],
    uses: 1,
    createdAt: NOW,
    expiresAt: NOW + 1000,
    ephemeralMs: 60_000,
  }, ENTRY);
  return (await store.registerNode(registration(name, { hostKey: `key of ${name}` }), ENTRY)).id;
}
const LONG_AFTER = { now: NOW + 3600_000, listeningSince: NOW };

pair(
  "an ephemeral node whose removal had to be tried again is told of once",
  async (a, _b, database) => {
    const id = await joinForAWhile(a, await me(a), "s");
    // a sequence is not set back with its transaction
    await server!().query(
      `create sequence tries;
       create function once() returns trigger language plpgsql as $$ begin
         if nextval('tries') = 1 then raise exception 'again' using errcode = '40001'; end if;
         return null;
       end $$;
       create constraint trigger once after update on nodes deferrable initially deferred
         for each row execute function once()`,
      database,
    );
    assert.deepEqual(await a.expireNodes(LONG_AFTER, { ...ENTRY, action: "node.expire" }), [id]);
    assert.equal(await server!().query("select last_value from tries", database), "2");
  },
);

pair(
  "an ephemeral node goes, or a session is bound to it, and never both",
  async (a, b) => {
    const user = await me(a);
    for (let round = 0; round < 30; round++) {
      const nodeId = await joinForAWhile(a, user, `${round}`);
      const [bound] = await Promise.allSettled([
        a.bindSession(user, `s${round}`, { nodeId, isolation: "native" }, NOW, ENTRY),
        b.expireNodes(LONG_AFTER, { ...ENTRY, action: "node.expire" }),
      ]);
      if (bound.status === "rejected") assert.equal(bound.reason.code, "node_not_found");
      assert.equal(await a.binding(user, `s${round}`, NOW), undefined);
    }
  },
);

pair(
  "a revocation that comes too late for the audit is refused, not done without a record",
  async (a, _b, database) => {
    const user = await me(a), token = new Secret("obx_a");
    const id = await a.addUserToken(user, userToken(token), ENTRY);
    await using somebody = await holding("lock table audit in access exclusive mode", database);
    const { accountId } = user;
    const wanted = { accountId, kind: "token", id, by: "test", reason: "", now: NOW } as const;
    await refuses("database_unavailable", /./, a.revoke(wanted, ENTRY));
    await somebody.letGo();
    assert.ok(await a.userByToken(token, NOW));
    const { seq } = await a.auditHead();
    assert.ok(await a.revoke(wanted, ENTRY));
    assert.equal((await a.auditRecords(accountId, { after: seq, limit: 9 })).length, 1);
  },
);

pair(
  "what is taken away is taken away also where the audit takes no record",
  async (a, _b, database) => {
    const user = await me(a), { accountId } = user;
    await server!().query(
      `alter table audit add constraint no_room check (actor <> '${UNRECORDED.actor}')`,
      database,
    );
    await takenAwayUnrecorded(a, user);
    const given = a.addUser({ accountId, name: "x", now: NOW }, UNRECORDED);
    await refuses("audit_unavailable", /./, given);
  },
);

Deno.test("texts without parameters take no room among the prepared", present, async () => {
  const database = await server!().newDatabase();
  const dsn = parsePostgresDsn(server!().dsn(database));
  const { signal } = new AbortController();
  const connection = await connectPostgres({
    dsn,
    host: dsn.hosts[0]!,
    rootCert: undefined,
    signal,
    onEnd: () => {},
  });
  try {
    for (let i = 0; i < 400; i++) await connection.query(`select ${i}`, []);
    await connection.query("select cast($1 as text) as prepared", ["x"]);
    const { rows } = await connection.query(
      "select count(*) as n from pg_prepared_statements where statement like '%as prepared'",
      [],
    );
    assert.equal(rows[0]!.n, 1);
  } finally {
    await connection.close();
  }
});

pair(
  "connections that the server ended are replaced without a failed call",
  async (a, _b, database) => {
    const user = await me(a);
    await Promise.all(Array.from({ length: 20 }, () => a.nodes(user.accountId, {})));
    await server!().query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}'`,
    );
    await Promise.all(Array.from({ length: 20 }, () => a.nodes(user.accountId, {})));
    await addEnrollToken(a, user, "s");
  },
);

pair("no more connections than the pool has, whatever comes at once", async (a, _b, database) => {
  const user = await me(a);
  const calls = Promise.all(Array.from({ length: 300 }, () => a.nodes(user.accountId, {})));
  await calls;
  const open = Number(
    await server!().query(
      `select count(*) from pg_stat_activity where datname = '${database}' and application_name = 'openbox'`,
    ),
  );
  assert.ok(open >= 2 && open <= 20, `${open} of two stores`);
});

Deno.test(
  "STO-7: a migration that was killed in the middle left nothing, and the next start does it",
  present,
  async () => {
    const database = await server!().newDatabase();
    const lock = "create table accounts (x text); select pg_sleep(3)";
    // as another control plane would be seen in the middle of its migration, and then killed
    const other = server!().query(`begin; ${lock}; commit`, database).catch(() => "killed");
    await eventually("it is at work", async () =>
      await server!().query(
        `select count(*) from pg_stat_activity where datname = '${database}' and wait_event = 'PgSleep'`,
      ) === "1");
    const opening = open(database);
    await server!().query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}' and wait_event = 'PgSleep'`,
    );
    assert.equal(await other, "killed");
    await using store = await opening;
    await me(store);
  },
);

Deno.test(
  "STO-7: a newer schema, and another program's tables, are refused and not touched",
  present,
  async () => {
    const database = await server!().newDatabase();
    await (await open(database))[Symbol.asyncDispose]();
    await server!().query("insert into schema_migrations values ('999_later', 'x', 1)", database);
    await refuses("bad_file", /newer openbox.*999_later/, open(database));
    const foreign = await server!().newDatabase();
    await server!().query("create table users (id int)", foreign);
    await refuses("bad_file", /another program/, open(foreign));
    assert.equal(
      await server!().query("select count(*) from pg_tables where schemaname = 'public'", foreign),
      "1",
    );
  },
);

pair(
  "a password that was changed while it runs is the database's failure, not the caller's",
  async (a, _b, database) => {
    const user = await me(a);
    await server!().query("alter role openbox password 'other'");
    try {
      await server!().query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}'`,
      ).catch(() => {});
      const started = performance.now();
      await refuses("database_unavailable", /database/, a.nodes(user.accountId, {}));
      assert.ok(performance.now() - started < 3000);
    } finally {
      await server!().query(`alter role openbox password '${POSTGRES_PASSWORD}'`);
    }
    await eventually("it is back", () => a.nodes(user.accountId, {}).then(() => true, () => false));
  },
);

pair("a text with a zero byte is the caller's mistake, not the database's failure", async (a) => {
  const user = await me(a);
  await refuses("bad_request", /zero byte/, a.node(user.accountId, "node_\0"));
  await a.ping();
});
