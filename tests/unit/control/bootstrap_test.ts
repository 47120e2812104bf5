import assert from "node:assert/strict";
import { systemClock } from "../../../src/clock.ts";
import { type Bootstrap, bootstrap, USER_TOKEN_MS } from "../../../src/control/bootstrap.ts";
import type { ControlSettings } from "../../../src/control/settings.ts";
import type { Code, OpenboxError } from "../../../src/errors.ts";
import { newUserToken } from "../../../src/ids.ts";
import { Secret } from "../../../src/secret.ts";
import { IN_MEMORY, openSqliteStore } from "../../../src/store/sqlite.ts";
import type { Store } from "../../../src/store/store.ts";

const NOW = Date.UTC(2026, 0, 1);

async function world() {
  const root = await Deno.makeTempDir();
  const store = await openSqliteStore(IN_MEMORY, { clock: systemClock });
  return {
    store,
    file: `${root}/control/bootstrap_token`,
    root,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await Deno.remove(root, { recursive: true });
    },
  };
}

const make = (file: string | undefined, print = false): ControlSettings["bootstrap"] => ({
  kind: "make",
  file,
  print,
});
const start = (
  store: Store,
  settings: ControlSettings["bootstrap"],
  terminal = false,
  now = NOW,
): Promise<Bootstrap> => bootstrap(store, { settings, terminal, now });
const exists = (path: string) => Deno.stat(path).then(() => true, () => false);
const shown = ({ first }: Bootstrap): Secret => {
  assert.equal(first.kind, "shown");
  return (first as { token: Secret }).token;
};
const refuses = (code: Code, text: RegExp, call: Promise<unknown>) =>
  assert.rejects(call, (error: OpenboxError) => {
    assert.equal(error.code, code);
    assert.match(`${error.message} ${error.hint}`, text);
    return true;
  });

Deno.test("on a terminal the first token is shown once and kept nowhere", async () => {
  await using it = await world();
  const token = shown(await start(it.store, make(it.file), true));
  const user = await it.store.userByToken(token, NOW);
  assert.equal(user?.name, "me");
  assert.equal(user?.tokenExpiresAt, NOW + USER_TOKEN_MS);
  assert.equal(await exists(it.file), false);
  assert.equal((await start(it.store, make(it.file), true)).first.kind, "known");
});

Deno.test("without a terminal it is kept in a 0600 file until it was used", async () => {
  await using it = await world();
  const first = await start(it.store, make(it.file));
  assert.deepEqual(first.first, { kind: "kept", path: it.file });
  assert.equal((await Deno.stat(it.file)).mode! & 0o777, 0o600);
  const token = (await Deno.readTextFile(it.file)).trim();
  assert.equal((await it.store.userByToken(new Secret(token), NOW))?.name, "me");
  first.tokenUsed(newUserToken());
  assert.equal(await exists(it.file), true, "another token's use is nothing");
  // a restart before it was used: still there, and still told
  const again = await start(it.store, make(it.file));
  assert.deepEqual(again.first, { kind: "kept", path: it.file });
  assert.equal((await Deno.readTextFile(it.file)).trim(), token);
  again.tokenUsed(token);
  for (const deadline = Date.now() + 5000; await exists(it.file);) assert.ok(Date.now() < deadline);
  again.tokenUsed(token);
  assert.equal((await start(it.store, make(it.file))).first.kind, "known");
});

Deno.test("a file of a start that never came through is replaced by a token that works", async () => {
  await using it = await world();
  await Deno.mkdir(`${it.root}/control`, { mode: 0o700 });
  await Deno.writeTextFile(it.file, "obx_old\n", { mode: 0o600 });
  await start(it.store, make(it.file));
  const token = new Secret((await Deno.readTextFile(it.file)).trim());
  assert.equal((await it.store.userByToken(token, NOW))?.name, "me");
});

Deno.test("printed, where somebody asked for that; at the second start too while it is unused", async () => {
  await using it = await world();
  const printed = shown(await start(it.store, make(it.file, true)));
  assert.equal((await it.store.userByToken(printed, NOW))?.name, "me");
  assert.equal(await exists(it.file), false);

  await using other = await world();
  await start(other.store, make(other.file));
  const later = shown(await start(other.store, make(other.file, true)));
  assert.equal((await other.store.userByToken(later, NOW))?.name, "me");
});

Deno.test("nowhere to show it and nowhere to keep it: no token that nobody has", async () => {
  await using it = await world();
  await refuses("bad_setting", /OPENBOX_BOOTSTRAP_TOKEN/, start(it.store, make(undefined)));
  assert.equal(await it.store.hasUserToken((await it.store.firstUser())!), false);
  shown(await start(it.store, make(undefined), true));
  assert.equal((await start(it.store, make(undefined))).first.kind, "known");
});

Deno.test("a token that was set is the first user's, and a restart does not put off its end", async () => {
  await using it = await world();
  const token = new Secret(newUserToken());
  const settings = { kind: "text", token } as const;
  assert.equal((await start(it.store, settings)).first.kind, "known");
  assert.equal((await start(it.store, settings, false, NOW + 5000)).first.kind, "known");
  assert.equal((await it.store.userByToken(token, NOW))?.tokenExpiresAt, NOW + USER_TOKEN_MS);
  assert.equal(await exists(it.file), false);
});

Deno.test("a token comes from a private file", async () => {
  await using it = await world();
  await Deno.mkdir(`${it.root}/control`, { mode: 0o700 });
  const token = newUserToken();
  await Deno.writeTextFile(it.file, `${token}\n`, { mode: 0o600 });
  const settings = { kind: "file", path: it.file } as const;
  await start(it.store, settings);
  assert.equal((await it.store.userByToken(new Secret(token), NOW))?.name, "me");
  assert.equal(await exists(it.file), true, "it is not ours to remove");
  await Deno.chmod(it.file, 0o644);
  await refuses("unsafe_file", /chmod 600/, start(it.store, settings));
  await refuses(
    "bad_file",
    /no bootstrap token/,
    start(it.store, { ...settings, path: `${it.root}/control/x` }),
  );
});

Deno.test("a token of another form is refused: it could be guessed", async () => {
  await using it = await world();
  for (const text of ["hunter2", "obx_short", `obx_${"a".repeat(39)} `, `obn_${"a".repeat(40)}`]) {
    const settings = { kind: "text", token: new Secret(text) } as const;
    await refuses("bad_setting", /obx_ and 40.*\/dev\/urandom/, start(it.store, settings));
  }
});
