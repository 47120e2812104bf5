import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../../src/clock.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import type { AuditCheck } from "../../../src/store/store.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";

/** A chain of ten records, changed behind the store's back. */
async function tamper(sql: string): Promise<AuditCheck> {
  const directory = await Deno.makeTempDir(), path = `${directory}/openbox.db`;
  try {
    await using store = await openSqliteStore(path, { clock: systemClock });
    const user = await store.createAccount("me", 1, { ...ENTRY, action: "user.add" });
    for (let i = 2; i <= 10; i++) {
      await store.recordAudit([{ ...ENTRY, accountId: user.accountId, subject: `s${i}` }]);
    }
    await store[Symbol.asyncDispose]();
    using database = new DatabaseSync(path);
    database.exec(sql);
    database.close();
    await using again = await openSqliteStore(path, { clock: systemClock });
    return await again.verifyAudit({});
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("AUD-3: a chain as it was written verifies to its end", async () => {
  const { head, bad } = await tamper("select 1");
  assert.deepEqual([head.seq, bad], [10, undefined]);
});

const CHANGES: readonly (readonly [what: string, sql: string, seq: number])[] = [
  ["a changed subject", "update audit set subject = 'x' where seq = 4", 4],
  ["a changed time", "update audit set at = at + 1 where seq = 1", 1],
  ["an outcome turned over", "update audit set outcome = 'denied' where seq = 10", 10],
  ["another account", "update audit set account_id = null where seq = 7", 7],
  ["a changed hash", "update audit set hash = '0' where seq = 5", 5],
  ["a record taken out", "delete from audit where seq = 6", 6],
  ["the first one taken out", "delete from audit where seq = 1", 1],
  [
    "two that changed places",
    "update audit set seq = 99 where seq = 3; update audit set seq = 3 where seq = 4; update audit set seq = 4 where seq = 99",
    3,
  ],
  [
    "one put in between",
    "update audit set seq = seq + 100 where seq > 5; update audit set seq = seq - 99 where seq > 100; " +
    "insert into audit select 6, account_id, at, uptime_ms, process, action, outcome, actor, token_id, source, request_id, 'planted', detail, hash from audit where seq = 5",
    6,
  ],
];
for (const [what, sql, seq] of CHANGES) {
  Deno.test(`AUD-3: ${what} is found at record ${seq}`, async () => {
    const { head, bad } = await tamper(sql);
    assert.equal(bad?.seq, seq);
    assert.equal(head.seq, seq - 1);
  });
}
