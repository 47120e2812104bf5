import assert from "node:assert/strict";
import { FakeClock } from "../../fakes/clock.ts";
import { assertRefused, startWorld } from "./world.ts";

const start = (n: number) => ({
  kind: "start",
  n,
  at_ms: 1,
  run_id: `run_${n}`,
  user_id: "usr_1",
  serial: "7",
  token_id: null,
  session: null,
  isolation: "native",
  login: null,
  program: "make",
  command_sha256: null,
  command: null,
});

Deno.test("AUD-8: an event that is told twice is on record once", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const tell = (spool: string, events: readonly unknown[]) =>
    world.call("POST", "/v1/nodes/runs", { token: node.token, body: { spool, events } });
  const runs = async () =>
    (await world.store.auditRecords(world.user.accountId, { after: 0, limit: 1000 }))
      .filter(({ action }) => action === "run.start").map(({ subject, actor }) => [subject, actor]);
  assert.equal((await tell("a", [start(1), start(2)])).status, 204);
  assert.equal((await tell("a", [start(2), start(3)])).status, 204);
  assert.equal((await tell("a", [start(1)])).status, 204);
  assert.deepEqual(await runs(), [1, 2, 3].map((n) => [`run_${n}`, node.id]));
  assert.equal((await tell("b", [start(1)])).status, 204);
  assert.equal((await runs()).length, 4);
});

Deno.test("what a node tells of its runs is limited in number and size", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  const tell = (events: readonly unknown[]) =>
    world.call("POST", "/v1/nodes/runs", { token: node.token, body: { spool: "a", events } });
  const many = Array.from({ length: 101 }, (_, i) => start(i));
  assertRefused(await tell(many), 400, "bad_request");
  assertRefused(await tell([{ ...start(1), program: "x".repeat(200) }]), 400, "bad_request");
  assertRefused(await tell([{ ...start(1), kind: "other" }]), 400, "bad_request");
  // found by schemathesis: a time that no Date can be
  assertRefused(await tell([{ ...start(1), at_ms: 8.64e15 + 1 }]), 400, "bad_request");
  assert.equal((await tell([{ ...start(1), at_ms: 8.64e15 }])).status, 204);
  assertRefused(
    await world.call("POST", "/v1/nodes/runs", {
      token: world.token,
      body: { spool: "a", events: [start(1)] },
    }),
    403,
    "scope",
  );
});

Deno.test("AUD-7: a node that floods the audit is told to wait", async () => {
  await using world = await startWorld({ clock: new FakeClock() });
  const node = await world.enroll();
  const tell = (n: number) =>
    world.call("POST", "/v1/nodes/runs", {
      token: node.token,
      body: { spool: "a", events: [start(n)] },
    });
  for (let n = 1; n <= 300; n++) assert.equal((await tell(n)).status, 204);
  assertRefused(await tell(301), 429, "too_many");
});

Deno.test("an event with a zero byte is refused before the database sees it", async () => {
  await using world = await startWorld();
  const node = await world.enroll();
  for (const field of ["run_id", "isolation", "program", "session"]) {
    const events = [{ ...start(1), [field]: "a\0b" }];
    const body = { spool: "a", events };
    const reply = await world.call("POST", "/v1/nodes/runs", { token: node.token, body });
    assertRefused(reply, 400, "bad_request");
  }
});
