import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { createCertAuthority } from "../../../src/ca/authority.ts";
import {
  generateOperationsKey,
  signStatement,
  verifyStatement,
} from "../../../src/ca/operations.ts";
import { text } from "../../../src/bytes.ts";
import { type AuditExportDeps, exportAudit } from "../../../src/control/audit_export.ts";
import type { KeptHead } from "../../../src/control/kept_head.ts";
import type { Store } from "../../../src/store/store.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import { systemClock } from "../../../src/clock.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { startLog } from "../../../src/log.ts";
import { fakeHost } from "../../fakes/host.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { eventually } from "../../fixtures/processes.ts";
import { CA, startWorld } from "./world.ts";

const MINUTE = 60_000;

/** What is signed here can be verified: the key has a certificate of the CA. */
async function signer(clock: FakeClock): Promise<AuditExportDeps["sign"]> {
  const key = generateOperationsKey();
  let serial = 0n;
  const authority = createCertAuthority({ keys: CA, nextSerial: () => Promise.resolve(++serial) });
  const { blob: certificate } = await authority.issueOperationsCert({ key, now: clock.now() });
  return (payload) =>
    Promise.resolve(signStatement({ key, certificate }, "openbox-audit-head-v1", payload));
}

/** A syslog that keeps what it was sent, and can be away. */
function startSyslog() {
  let received = "", listener: Deno.Listener | undefined, port = 0;
  const open = new Set<Deno.Conn>();
  const start = () => {
    const own = listener = Deno.listen({ hostname: "127.0.0.1", port });
    port = (own.addr as Deno.NetAddr).port;
    (async () => {
      for await (const conn of own) {
        open.add(conn);
        const all = await new Response(conn.readable).arrayBuffer();
        received += text(new Uint8Array(all));
        open.delete(conn);
      }
    })().catch(() => {});
  };
  start();
  return {
    address: { protocol: "tcp", host: "127.0.0.1", port } as const,
    start,
    stop: () => listener!.close(),
    // deno-lint-ignore no-explicit-any -- a test reads what it expects
    records: (id: string): any[] =>
      [...received.matchAll(new RegExp(`openbox \\d+ ${id} - (\\{.*?\\})(?=\\d+ <|$)`, "g"))]
        .map(([, json]) => JSON.parse(json!)),
  };
}

async function world(
  options: { readonly store?: Store; readonly syslog?: AuditExportDeps["syslog"] } = {},
) {
  const clock = new FakeClock(), kept: KeptHead[] = [];
  const store = options.store ?? await openSqliteStore(IN_MEMORY, { clock });
  const deps: AuditExportDeps = {
    store,
    clock,
    sign: await signer(clock),
    kept: undefined,
    keep: (head) => Promise.resolve(void kept.push(head)),
    syslog: options.syslog,
    holder: `proc_${Math.random()}`,
  };
  const stop = new AbortController();
  const done = exportAudit(deps, stop.signal);
  return {
    clock,
    store,
    kept,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await done;
      if (!options.store) await store[Symbol.asyncDispose]();
    },
  };
}

const minute = async (clock: FakeClock, sleepers: number) => {
  await eventually("all wait", () => clock.sleeping === sleepers);
  clock.advance(MINUTE);
};

Deno.test("AUD-3: each minute the head is signed, where there is a new one, and the signature verifies", async () => {
  await using w = await world();
  const user = await w.store.createAccount("me", 1, { ...ENTRY, action: "user.add" });
  await minute(w.clock, 1);
  await eventually("it is signed", () => w.kept.length === 1);
  await minute(w.clock, 1);
  await minute(w.clock, 1);
  await w.store.recordAudit([{ ...ENTRY, accountId: user.accountId }]);
  await minute(w.clock, 1);
  await eventually("the next is signed", () => w.kept.length === 2);
  assert.deepEqual(w.kept.map(({ seq }) => seq), [1, 2]);
  const { statement, seq, hash } = w.kept[1]!;
  const policy = {
    domain: "openbox-audit-head-v1",
    authorities: [CA.host],
    now: w.clock.now(),
  } as const;
  const told = JSON.parse(verifyStatement(statement, policy).payload);
  assert.deepEqual([told.seq, told.hash], [seq, hash]);
  const forged = { ...statement, payload: statement.payload.replace('"seq":2', '"seq":3') };
  assert.throws(() => verifyStatement(forged, policy), { code: "cert_refused" });
});

Deno.test("AUD-8: a syslog that was away for an hour gets every record, once and in order", async () => {
  const syslog = startSyslog();
  await using w = await world({ syslog: syslog.address });
  const { accountId } = await w.store.createAccount("me", 1, { ...ENTRY, action: "user.add" });
  await minute(w.clock, 2);
  await eventually("the first is there", () => syslog.records("audit").length === 1);
  syslog.stop();
  for (let i = 0; i < 60; i++) {
    await w.store.recordAudit(
      Array.from({ length: 30 }, () => ({ ...ENTRY, accountId, subject: `hour ${i}` })),
    );
    await minute(w.clock, 2);
  }
  syslog.start();
  await minute(w.clock, 2);
  await eventually("all are there", () => syslog.records("audit").length >= 1801);
  await minute(w.clock, 2);
  assert.deepEqual(
    syslog.records("audit").map(({ seq }) => seq),
    Array.from({ length: 1801 }, (_, i) => i + 1),
  );
  assert.ok(syslog.records("audit-head").length >= 2);
  syslog.stop();
});

Deno.test("AUD-8: of several processes on one database one sends, and another when that one is gone", async () => {
  const clock = new FakeClock();
  await using store = await openSqliteStore(IN_MEMORY, { clock });
  await store.createAccount("me", 1, { ...ENTRY, action: "user.add" });
  const take = async (holder: string, now: number) => {
    const seen: number[] = [];
    await store.exportAudit("sink", { holder, limit: 10, now }, (records) => {
      seen.push(...records.map(({ seq }) => seq));
      return holder === "dies" ? Promise.reject(new Error("killed")) : Promise.resolve();
    });
    return seen;
  };
  await assert.rejects(take("dies", 0), /killed/);
  assert.deepEqual(await take("other", 20_000), [], "the first still holds it");
  assert.deepEqual(await take("other", 31_000), [1]);
  assert.deepEqual(await take("other", 32_000), []);
});

Deno.test("AUD-3: records taken from the end are missed by the head that was kept in the home", async () => {
  const directory = await Deno.makeTempDir(), path = `${directory}/openbox.db`;
  const env = { OPENBOX_HOME: directory, OPENBOX_CA_KEY: "" };
  try {
    const open = () => openSqliteStore(path, { clock: systemClock });
    let seq: number;
    {
      await using one = await startWorld({ store: await open(), env });
      await one.enroll();
      seq = (await one.store.auditHead()).seq;
    }
    using database = new DatabaseSync(path);
    database.exec(`delete from audit where seq > ${seq - 2}`);
    database.close();
    await using two = await startWorld({ store: await open(), env });
    const { body } = await two.call("POST", "/v1/audit/verify", { token: two.token, body: {} });
    assert.ok(body.bad !== null && body.bad.seq > seq - 2, JSON.stringify(body));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("STO-13: a chain that went on without the head that was signed is told in the log", async () => {
  const host = fakeHost();
  await using _log = await startLog(host);
  const clock = new FakeClock();
  await using store = await openSqliteStore(IN_MEMORY, { clock });
  await using w = await world({ store });
  const { accountId } = await store.createAccount("me", 1, { ...ENTRY, action: "user.add" });
  await minute(w.clock, 1);
  await eventually("it is signed", () => w.kept.length === 1);
  // the standby that took over never had that record: in its place stands another one
  Object.assign(store, {
    auditHeadAt: (seq: number) => Promise.resolve({ seq, hash: "f".repeat(64) }),
  });
  await store.recordAudit([{ ...ENTRY, accountId }]);
  await minute(w.clock, 1);
  await eventually("it is told", async () => {
    await _log.flush();
    return host.err.text().includes("Record 1 is another one than when it was signed");
  });
  assert.equal(w.kept.length, 1, "and it is not signed over");
});
