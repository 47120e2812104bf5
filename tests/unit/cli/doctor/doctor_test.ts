import assert from "node:assert/strict";
import { type Home, makeHome } from "../call.ts";
import { aNode, startFakeControl } from "../fake_control.ts";

interface Row {
  readonly check: string;
  readonly verdict: string;
  readonly text: string;
  readonly hint: string | null;
}

async function doctor(home: Home, env: Record<string, string> = {}) {
  const { code, out, err } = await home.call(["doctor", "--json"], { env });
  assert.equal(err, "");
  const { ok, findings }: { ok: boolean; findings: Row[] } = JSON.parse(out);
  assert.equal(code, ok ? 0 : 1);
  const of = (check: string) => findings.find((row) => row.check === check)!;
  return { code, findings, of };
}

async function loggedIn() {
  const control = startFakeControl(), home = await makeHome();
  control.nodes = [];
  const { code } = await home.call(["login", "--server", control.url], { stdin: control.token });
  assert.equal(code, 0);
  return {
    control,
    home,
    async [Symbol.asyncDispose]() {
      await home[Symbol.asyncDispose]();
      await control[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a good set-up is called good", async () => {
  await using world = await loggedIn();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const greeting = (async () => {
    for await (const conn of listener) {
      await conn.write(new TextEncoder().encode("SSH-2.0-OpenSSH_openbox\r\n"));
      conn.close();
    }
  })();
  world.control.nodes = [aNode({ addr: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}` })];
  const { code, findings, of } = await doctor(world.home);
  listener.close();
  await greeting;
  assert.deepEqual(findings.filter(({ verdict }) => verdict === "wrong"), []);
  assert.equal(code, 0);
  for (const check of ["home", "login", "control plane", "clock", "token", "CA", "nodes"]) {
    assert.equal(of(check).verdict, "ok", `${check}: ${of(check).text}`);
  }
});

Deno.test("nobody logged in: one thing is wrong, and what needs a login says so", async () => {
  await using home = await makeHome();
  const { code, findings, of } = await doctor(home);
  assert.equal(code, 1);
  assert.deepEqual(
    findings.filter(({ verdict }) => verdict === "wrong").map(({ check }) => check),
    [
      "login",
    ],
  );
  assert.match(of("login").hint!, /openbox login/);
  assert.equal(of("nodes").text, "not without a login");
});

Deno.test("CFG-1: a login that others can read is wrong, with the chmod", async () => {
  await using world = await loggedIn();
  await Deno.chmod(world.home.config, 0o644);
  const { of } = await doctor(world.home);
  assert.deepEqual([of("login").verdict, of("login").hint], [
    "wrong",
    `chmod 600 ${world.home.config}`,
  ]);
});

Deno.test("a control plane that is gone, a token that is not taken and a CA that is another are told apart", async () => {
  await using world = await loggedIn();
  world.control.swapCa();
  const swapped = await doctor(world.home);
  assert.deepEqual([swapped.of("token").verdict, swapped.of("CA").verdict], ["ok", "wrong"]);
  const stranger = await doctor(world.home, { OPENBOX_TOKEN: "obx_other" });
  assert.deepEqual([stranger.of("control plane").verdict, stranger.of("token").verdict], [
    "ok",
    "wrong",
  ]);
  await world.control[Symbol.asyncDispose]();
  const gone = await doctor(world.home);
  assert.equal(gone.of("control plane").verdict, "wrong");
  assert.match(gone.of("token").text, /not while the control plane/);
});

Deno.test("for people it is a line a finding, with what mends it below, and a sum", async () => {
  await using home = await makeHome();
  const { code, out } = await home.call(["doctor"]);
  assert.equal(code, 1);
  assert.match(out, /^wrong +login +nobody is logged in here\n +→ openbox login/m);
  assert.match(out, /^1 thing is wrong/m);
});
