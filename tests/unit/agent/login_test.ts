import assert from "node:assert/strict";
import {
  findLogin,
  type Login,
  readLogin,
  readLoginPath,
  STANDARD_PATH,
} from "../../../src/agent/login.ts";
import { openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { fakeHost } from "../../fakes/host.ts";
import { eventually, isAlive, pidsIn } from "../../fixtures/processes.ts";

/** A home with these start-up files. */
async function withLogin(
  files: Readonly<Record<string, string>>,
  body: (login: Login) => Promise<void>,
  shell = "/bin/bash",
): Promise<void> {
  const home = await Deno.makeTempDir();
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${home}/${name}`, text);
  }
  await body({ name: "me", home, shell, lang: "C.UTF-8" });
  await Deno.remove(home, { recursive: true });
}

Deno.test("the login is the system's, whatever the agent's variables say", async () => {
  const login = await readLogin(
    fakeHost({ env: { HOME: "/nowhere", USER: "x", SHELL: "/bin/x" } }),
  );
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", 'echo "$(id -un)"; eval echo "~$(id -un)"'],
    env: { HOME: "/nowhere" },
  }).output();
  const [name, home] = new TextDecoder().decode(stdout).split("\n");
  assert.deepEqual([login.name, login.home], [name, home]);
  assert.match(login.shell, /^\//);
});

Deno.test({
  name: "EXE-7: another login is the system's of exactly this name",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const { home, account, lang } = await findLogin("daemon", { lang: "C.UTF-8" });
    assert.deepEqual([account, lang], [{ name: "daemon", uid: 1, gid: 1 }, "C.UTF-8"]);
    assert.match(home, /^\//);
    for (const name of ["no_such_login", "--help"]) {
      await assert.rejects(findLogin(name, { lang: "C" }), { code: "login_not_allowed" });
    }
  },
});

Deno.test("PATH is what the login shell's start-up files make of it, whatever they print", () =>
  withLogin({
    ".bash_profile":
      'echo welcome; printf "%s" noise; echo error >&2; export PATH="/opt/my bin:$PATH"\n',
  }, async (login) => {
    await using backend = await openNativeBackend();
    assert.equal(await readLoginPath(login, backend), `/opt/my bin:${STANDARD_PATH}`);
  }));

Deno.test("a login shell that fails, or is not there, leaves the system's PATH", async () => {
  await using backend = await openNativeBackend();
  await withLogin({ ".bash_profile": "exit 3\n" }, async (login) => {
    assert.equal(await readLoginPath(login, backend), STANDARD_PATH);
  });
  await withLogin({}, async (login) => {
    assert.equal(await readLoginPath(login, backend), STANDARD_PATH);
  }, "/no/such/shell");
});

Deno.test("a login shell that is late is not waited for longer than five seconds, and is left to end", () =>
  withLogin({
    ".bash_profile": "trap '' TERM\nsleep 6\necho done >~/done\n",
  }, async (login) => {
    await using backend = await openNativeBackend();
    const startedAt = performance.now();
    assert.equal(await readLoginPath(login, backend), STANDARD_PATH);
    const ms = performance.now() - startedAt;
    assert.ok(ms >= 4_900 && ms < 6_000, `${ms} ms`);
    await eventually(
      "its start-up files ran to their end",
      () => Deno.stat(`${login.home}/done`).then(() => true, () => false),
    );
  }));

Deno.test("a login shell that never ends ends with the backend", () =>
  withLogin({ ".bash_profile": "echo $$ >~/pid\nsleep 300\n" }, async (login) => {
    const backend = await openNativeBackend();
    const path = readLoginPath(login, backend);
    const [pid] = await pidsIn(`${login.home}/pid`, 1);
    await backend[Symbol.asyncDispose]();
    assert.equal(await path, STANDARD_PATH);
    assert.ok(!isAlive(pid!));
  }));
