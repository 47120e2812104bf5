import assert from "node:assert/strict";
import { openLogins } from "../../../src/agent/logins.ts";
import { fakeBackend } from "../../fakes/isolation.ts";

const OWN = { name: "me", home: "/", shell: "/bin/false", lang: "C.UTF-8" };

Deno.test("a login shell is asked for its PATH once, and not at all where the owner says it", async () => {
  const native = fakeBackend({});
  const asked = openLogins({ own: OWN, native, path: undefined });
  const [one, two] = await Promise.all([asked.find(undefined), asked.find(undefined)]);
  assert.deepEqual([one.login, one.path], [OWN, two.path]);
  assert.equal(native.commands.length, 1);

  const said = openLogins({ own: OWN, native, path: "/opt/bin" });
  assert.equal((await said.find(undefined)).path, "/opt/bin");
  assert.equal(native.commands.length, 1);
});

Deno.test({
  name: "EXE-7: the login shell of another login runs as that one",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const native = fakeBackend({}, { directories: ["/", "/usr/sbin"] });
    const logins = openLogins({ own: OWN, native, path: undefined });
    const { login } = await logins.find("daemon");
    assert.equal(login.account?.uid, 1);
    const accounts = native.commands.map(({ account }) => account?.name);
    assert.deepEqual(accounts, [undefined, "daemon"]);
  },
});
