import assert from "node:assert/strict";
import type { AuditRecord } from "../../../src/api/audit.ts";
import { Interrupted } from "../../../src/host.ts";
import { startWorld } from "../control/world.ts";
import { makeHome } from "./call.ts";

/** A home that is logged in to a real control plane. */
async function world() {
  const stack = new AsyncDisposableStack();
  const control = stack.use(await startWorld());
  const home = stack.use(await makeHome());
  const { code, err } = await home.call(["login", "--server", control.url], {
    stdin: control.token,
  });
  assert.equal(code, 0, err);
  return { control, home, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const parse = (out: string): AuditRecord[] =>
  out.trim().split("\n").map((line) => JSON.parse(line));

Deno.test("openbox audit says who did what to what, by name, the newest last", async () => {
  await using w = await world();
  const node = await w.control.enroll({ name: "mini" });
  await w.home.call(["node", "rm", "mini"]);
  const { code, out, err } = await w.home.call(["audit", "--limit", "2"]);
  assert.equal(code, 0, err);
  const lines = out.trim().split("\n");
  assert.equal(lines.length, 2);
  const me = `me(${w.control.user.id})`;
  assert.ok(lines[1]!.includes(` allowed node.remove ${me} → mini(${node.id}) from=`), lines[1]);
});

Deno.test("openbox audit --json is a record a line", async () => {
  await using w = await world();
  const records = parse((await w.home.call(["audit", "--json"])).out);
  assert.deepEqual(records.map(({ seq }) => seq), records.map((_, i) => i + 1));
  const login = records.at(-1)!;
  assert.deepEqual([login.action, login.outcome, login.actor], [
    "login",
    "allowed",
    w.control.user.id,
  ]);
  assert.match(login.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.match(login.hash, /^[0-9a-f]{64}$/);
});

Deno.test("openbox audit --since shows all of more than one page", async () => {
  await using w = await world();
  const entry = { outcome: "denied", action: "request", actor: "anonymous" } as const;
  const { accountId } = w.control.user;
  await w.control.store.recordAudit(
    Array.from({ length: 1500 }, () => ({ ...entry, accountId, at: Date.now() })),
  );
  await w.control.store.recordAudit([{ ...entry, accountId, at: 1, subject: "old" }]);
  const records = parse((await w.home.call(["audit", "--since", "1h", "--json"])).out);
  assert.equal(records.filter(({ action }) => action === "request").length, 1500);
  assert.ok(records.every(({ subject }) => subject !== "old"));
});

Deno.test("openbox audit --follow goes on with what happens from then on", async () => {
  await using w = await world();
  const stop = new AbortController();
  let seen = "";
  const follow = w.home.call(["audit", "--follow", "--limit", "1", "--json"], {
    signal: stop.signal,
    onOutput: (text) => {
      if (seen === "") void w.control.enroll({ name: "late" });
      seen += text;
      if (seen.includes("node.enroll")) stop.abort(new Interrupted("SIGINT"));
    },
  });
  const { code } = await follow;
  assert.equal(code, 130);
  assert.deepEqual(parse(seen).map(({ action }) => action).slice(0, 3), [
    "login",
    "enroll_token.create",
    "node.enroll",
  ]);
});

Deno.test("AUD-3: openbox audit verify ends with 1 where the head that was kept is not in the chain", async () => {
  await using w = await world();
  const good = await w.home.call(["audit", "verify"]);
  assert.equal(good.code, 0, good.err);
  const [, head, seq] = /head ((\d+):[0-9a-f]{64})\n$/.exec(good.out)!;
  assert.equal((await w.home.call(["audit", "verify", "--head", head!])).code, 0);
  const other = await w.home.call(["audit", "verify", "--head", `${seq}:${"0".repeat(64)}`]);
  assert.equal(other.code, 1);
  assert.match(other.err, new RegExp(`audit_broken: .* record ${seq},`));
  const later = await w.home.call(["audit", "verify", "--json", "--head", `999:${"0".repeat(64)}`]);
  assert.equal(later.code, 1);
  assert.equal(JSON.parse(later.out).bad.seq, Number(seq) + 1);
});

Deno.test("AUD-9: another account's records and the installation's are not shown", async () => {
  await using w = await world();
  const { token, user } = await w.control.newAccount("other");
  const { body } = await w.control.call("GET", "/v1/audit", { token });
  assert.ok(body.records.length > 0);
  assert.deepEqual(
    [...new Set((body.records as AuditRecord[]).map(({ account_id }) => account_id))],
    [user.accountId],
  );
});
