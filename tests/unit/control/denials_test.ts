import assert from "node:assert/strict";
import { createDenials } from "../../../src/control/denials.ts";
import type { AuditEntry } from "../../../src/store/audit.ts";
import { FakeClock } from "../../fakes/clock.ts";

function world() {
  const entries: AuditEntry[] = [], clock = new FakeClock();
  const store = {
    recordAudit: (more: readonly AuditEntry[]) => Promise.resolve(void entries.push(...more)),
  };
  return { entries, clock, denials: createDenials({ store, clock }) };
}
const denial = { source: "10.0.0.1", requestId: "req_1", call: "GET /v1/nodes", code: "scope" };

Deno.test("AUD-7: a million refused calls are one record, and one with their number", async () => {
  const { entries, clock, denials } = world();
  for (let i = 0; i < 1_000_000; i++) denials.note({ ...denial, caller: undefined });
  await denials.flush();
  assert.equal(entries.length, 1);
  clock.advance(60_000);
  await denials.flush();
  assert.equal(entries.length, 2);
  assert.equal(entries[1]!.detail?.more, 999_999);
  clock.advance(60_000);
  await denials.flush();
  assert.equal(entries.length, 2);
});

Deno.test("AUD-7: sources without number take no more memory and disk than a thousand", async () => {
  const { entries, clock, denials } = world();
  for (let i = 0; i < 20_000; i++) {
    denials.note({ ...denial, source: `10.0.${i >> 8}.${i & 255}`, caller: undefined });
  }
  assert.equal(entries.length, 1001);
  clock.advance(60_000);
  await denials.flush();
  assert.equal(entries.length, 1002);
  assert.equal(entries.at(-1)!.detail?.more, 20_000 - 1001);
});

Deno.test("who was refused is told with what was refused", () => {
  const { entries, denials } = world();
  denials.note({ ...denial, caller: { accountId: "acc_1", actor: "usr_1", tokenId: "tok_1" } });
  const [entry] = entries;
  assert.deepEqual(
    [entry!.accountId, entry!.actor, entry!.tokenId, entry!.outcome, entry!.detail],
    ["acc_1", "usr_1", "tok_1", "denied", { call: "GET /v1/nodes", code: "scope" }],
  );
});
