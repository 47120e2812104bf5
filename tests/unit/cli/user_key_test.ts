import assert from "node:assert/strict";
import { userKey } from "../../../src/cli/user_key.ts";
import { readLogin } from "../../../src/cli/login.ts";
import { fakeHost } from "../../fakes/host.ts";
import { type Home, makeHome } from "./call.ts";
import { startFakeControl } from "./fake_control.ts";

const hostOf = (home: Home) => fakeHost({ env: { OPENBOX_HOME: home.path } });

Deno.test("the first run makes the key and keeps it; later ones, also side by side, use one", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  await home.call(["login", "--server", control.url], { stdin: control.token });
  const host = hostOf(home);
  const first = await userKey(await readLogin(host), host);
  const next = await Promise.all(
    Array.from({ length: 5 }, async () => await userKey(await readLogin(host), host)),
  );
  for (const key of next) assert.deepEqual(key.raw, first.raw);
});

Deno.test("a login again keeps the key", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const login = ["login", "--server", control.url];
  await home.call(login, { stdin: control.token });
  const host = hostOf(home);
  const first = await userKey(await readLogin(host), host);
  await home.call(login, { stdin: control.token });
  assert.deepEqual((await userKey(await readLogin(host), host)).raw, first.raw);
});

Deno.test("a first run that a logout overtakes does not bring the login back", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  await home.call(["login", "--server", control.url], { stdin: control.token });
  const host = hostOf(home);
  const login = await readLogin(host);
  await home.call(["logout"]);
  assert.equal((await userKey(login, host)).raw.length, 32);
  await assert.rejects(Deno.stat(home.config), Deno.errors.NotFound);
});

Deno.test("a key that cannot be read is refused with the way out; without a login it lives in memory", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  await home.call(["login", "--server", control.url], { stdin: control.token });
  const host = hostOf(home);
  const login = await readLogin(host);
  const broken = { ...login, stored: { ...login.stored!, key_pem: "x" } };
  await assert.rejects(userKey(broken, host), { code: "bad_file" });
  assert.equal((await userKey({ ...login, stored: undefined }, host)).raw.length, 32);
});
