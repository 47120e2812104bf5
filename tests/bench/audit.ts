/** A long record: what a million entries cost at the start, and how fast they are verified. */
import { systemClock } from "../../src/clock.ts";
import type { AuditEntry } from "../../src/store/audit.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { startBenchControl } from "./control_plane.ts";
import type { Bench } from "./main.ts";
import { ms, perSecond, type Row } from "./stats.ts";

const RECORDS = 1_000_000, BATCH = 5000;

export async function audit({ say }: Bench): Promise<Row[]> {
  const home = await Deno.makeTempDir({ prefix: "openbox-bench-audit-" });
  try {
    await Deno.mkdir(`${home}/control`, { mode: 0o700 });
    say(`audit: writing ${RECORDS} records`);
    const written = await fill(`${home}/control/openbox.db`);
    await using control = await startBenchControl(home);
    say("audit: verifying them");
    const startedAt = performance.now();
    const answer = await fetch(`${control.server}/v1/audit/verify`, {
      method: "POST",
      headers: { authorization: `Bearer ${control.token}` },
      body: "{}",
    });
    const { head, bad } = await answer.json();
    const verified = head.seq / ((performance.now() - startedAt) / 1000);
    if (bad || head.seq < RECORDS) {
      throw new Error(`the chain does not verify: ${JSON.stringify(bad)}`);
    }
    return [
      { what: "audit records appended, in batches", openbox: perSecond(written) },
      {
        what: `start with ${RECORDS} audit records`,
        openbox: ms(control.startMs),
        bar: "≤ 3 s:",
        reached: control.startMs <= 3000,
      },
      {
        what: "  verified",
        openbox: perSecond(verified),
        bar: "≥ 100,000/s:",
        reached: verified >= 100_000,
      },
    ];
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

/** Returns how many a second were written. */
async function fill(path: string): Promise<number> {
  await using store = await openSqliteStore(path, { clock: systemClock });
  const now = Date.now();
  const entry: AuditEntry = {
    at: now,
    accountId: undefined,
    action: "user.add",
    outcome: "allowed",
    actor: "system",
  };
  const { accountId, id } = await store.createAccount("me", now, entry);
  const startedAt = performance.now();
  for (let n = 0; n < RECORDS; n += BATCH) {
    await store.recordAudit(Array.from({ length: BATCH }, (_, i): AuditEntry => ({
      at: now + n + i,
      accountId,
      action: "dispatch",
      outcome: "allowed",
      actor: id,
      tokenId: "tok_0123456789ab",
      source: "127.0.0.1",
      requestId: "req_0123456789ab",
      subject: "node_0123456789abcdef",
      detail: { serial: String(n + i), isolation: "native", session: null, login: null },
    })));
  }
  return RECORDS / ((performance.now() - startedAt) / 1000);
}
