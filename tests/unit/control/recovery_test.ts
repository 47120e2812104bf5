import assert from "node:assert/strict";
import { systemClock } from "../../../src/clock.ts";
import { readControlSettings } from "../../../src/control/settings.ts";
import { runControl } from "../../../src/control/start.ts";
import { Secret } from "../../../src/secret.ts";
import { openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";
import { ENTRY } from "../../fixtures/audit_entry.ts";
import { fakeHost } from "../../fakes/host.ts";

Deno.test("TOK-13: on the host a token is made for who is locked out, with the rule admin where nobody has it", async () => {
  const home = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${home}/control`, { mode: 0o700 });
    const opened = async <T>(work: (store: Store) => Promise<T>) => {
      await using store = await openSqliteStore(`${home}/control/openbox.db`, {
        clock: systemClock,
      });
      return await work(store);
    };
    const newToken = async () => {
      const host = fakeHost({ env: { OPENBOX_HOME: home } });
      await runControl(readControlSettings({ newToken: "me" }, host), host);
      return { token: new Secret(host.out.text().trim()), err: host.err.text() };
    };
    const verbs = (token: Secret) =>
      opened(async (store) =>
        (await store.userByToken(token, Date.now()))!.rules.map(({ grant }) => grant.verb)
      );
    const user = await opened((store) => store.createAccount("me", 1, ENTRY));
    const first = await newToken();
    assert.doesNotMatch(first.err, /administer/);
    assert.deepEqual(await verbs(first.token), ["admin", "read", "run"]);
    await opened(async (store) => {
      const rules = await store.rules(user.accountId, user.id);
      const admin = rules.find(({ grant }) => grant === "admin")!;
      await store.removeRule(user.accountId, admin.id, { now: 1, force: true }, ENTRY);
    });
    assert.deepEqual(await verbs(first.token), ["read", "run"]);
    const second = await newToken();
    assert.match(second.err, /me may administer the account now: nobody else was left/);
    assert.deepEqual((await verbs(second.token)).sort(), ["admin", "read", "run"]);
    const records = await opened((store) =>
      store.auditRecords(user.accountId, { after: 0, limit: 100 })
    );
    assert.deepEqual(records.slice(-2).map(({ action, actor }) => [action, actor]), [
      ["token.break_glass", "system"],
      ["rule.add", "system"],
    ]);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});
