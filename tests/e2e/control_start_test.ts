import assert from "node:assert/strict";
import { newUserToken } from "../../src/ids.ts";
import { eventually } from "../fixtures/processes.ts";
import { bootstrapToken, runControl, startControl, temporaryHome } from "./control_process.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url).pathname;
const whoami = async (url: string, token: string, options = {}): Promise<Response> => {
  const headers = { authorization: `Bearer ${token}`, connection: "close" };
  const response = await fetch(`${url}/v1/whoami`, { headers, ...options });
  await response.body?.cancel();
  return response;
};

Deno.test("a first start says where to log in, and keeps the token in a file until it is used", async () => {
  await using home = await temporaryHome();
  await using control = await startControl({ home: home.path });
  const file = `${home.path}/control/bootstrap_token`, token = await bootstrapToken(home.path);
  const out = control.stdout();
  assert.match(out, /^openbox \S+ control plane, listening on 127\.0\.0\.1:\d+$/m);
  assert.match(out, /^CA fingerprint SHA256:[A-Za-z0-9+/]{43}$/m);
  assert.match(
    out,
    /^log in with: openbox login --server http:\/\/127\.0\.0\.1:\d+ --ca-fingerprint SHA256:\S+ --token-file \S+$/m,
  );
  assert.ok(out.includes(`the first user's token is in ${file}`));
  assert.equal((await whoami(control.url, token)).status, 200);
  await eventually("the file is gone", () => Deno.stat(file).then(() => false, () => true));
  assert.equal((await whoami(control.url, token)).status, 200, "the token is not");
  // default 38: never in a log
  assert.doesNotMatch(out + control.stderr(), /obx_/);
  for (
    const [name, mode] of [["", 0o700], ["/control", 0o700], ["/control/ca_key", 0o600]] as const
  ) {
    assert.equal((await Deno.stat(home.path + name)).mode! & 0o777, mode, name);
  }
});

Deno.test("--print-bootstrap-token prints it, once", async () => {
  await using home = await temporaryHome();
  let token: string;
  {
    await using control = await startControl({
      home: home.path,
      env: { OPENBOX_PRINT_BOOTSTRAP_TOKEN: "1" },
    });
    token = /obx_[A-Za-z0-9]{40}/.exec(control.stdout())![0];
    assert.equal((await whoami(control.url, token)).status, 200);
  }
  await using again = await startControl({ home: home.path, args: ["--print-bootstrap-token"] });
  assert.doesNotMatch(again.stdout() + again.stderr(), /obx_/);
  assert.equal((await whoami(again.url, token)).status, 200);
});

Deno.test("OPENBOX_BOOTSTRAP_TOKEN is the first user's token, and is not repeated", async () => {
  await using home = await temporaryHome();
  const token = newUserToken();
  await using control = await startControl({
    home: home.path,
    env: { OPENBOX_BOOTSTRAP_TOKEN: token },
  });
  assert.equal((await whoami(control.url, token)).status, 200);
  assert.doesNotMatch(control.stdout() + control.stderr(), /obx_/);
});

Deno.test("a restart is the same control plane", async () => {
  await using home = await temporaryHome();
  const fingerprints: string[] = [];
  let token = "";
  for (let start = 0; start < 2; start++) {
    await using control = await startControl({ home: home.path });
    token ||= await bootstrapToken(home.path);
    fingerprints.push(/^CA fingerprint (.*)$/m.exec(control.stdout())![1]!);
    assert.equal((await whoami(control.url, token)).status, 200);
    control.kill("SIGTERM");
    assert.equal((await control.ended).code, 0, control.stderr());
  }
  assert.equal(fingerprints[0], fingerprints[1]);
});

Deno.test("--new-token makes a token while the control plane is stopped, and is refused while it runs", async () => {
  await using home = await temporaryHome();
  const newToken = (user: string) => runControl({ home: home.path, args: ["--new-token", user] });
  const before = await newToken("me");
  assert.equal(before.code, 2);
  assert.match(before.stderr, /There is no database/);
  {
    await using _ = await startControl({ home: home.path });
    const refused = await newToken("me");
    assert.equal(refused.code, 5);
    assert.match(refused.stderr, /conflict: .*in use: another control plane.*stop that one/s);
    assert.equal(refused.stdout, "");
  }
  const made = await newToken("me");
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stdout, /^obx_[A-Za-z0-9]{40}\n$/);
  assert.match(made.stderr, /a token of me, good until \d{4}-\d\d-\d\d/);
  const unknown = await newToken("nobody");
  assert.equal(unknown.code, 4);
  assert.match(unknown.stderr, /no user "nobody".*"me"/s);
  await using control = await startControl({ home: home.path });
  assert.equal((await whoami(control.url, made.stdout.trim())).status, 200);
});

Deno.test("ROT-8: of starts at once one runs, with one CA key, and the others say why not", async () => {
  await using home = await temporaryHome();
  const starts = await Promise.allSettled(
    Array.from({ length: 3 }, () => startControl({ home: home.path })),
  );
  await using stack = new AsyncDisposableStack();
  const running = starts.flatMap((start) => start.status === "fulfilled" ? [start.value] : []);
  for (const control of running) stack.use(control);
  assert.equal(running.length, 1);
  for (const start of starts) {
    if (start.status === "rejected") assert.match(String(start.reason), /in use: another control/);
  }
  const names = (await Array.fromAsync(Deno.readDir(`${home.path}/control`)))
    .map(({ name }) => name).filter((name) => !name.startsWith("openbox.db")).sort();
  assert.deepEqual(names, ["bootstrap_token", "ca_key", "operations_key"]);
  const token = await bootstrapToken(home.path);
  assert.equal((await whoami(running[0]!.url, token)).status, 200);
});

Deno.test("CFG-1: a CA key that others can read ends the start, with the command", async () => {
  await using home = await temporaryHome();
  await (await startControl({ home: home.path }))[Symbol.asyncDispose]();
  await Deno.chmod(`${home.path}/control/ca_key`, 0o644);
  const { code, stderr } = await runControl({ home: home.path });
  assert.equal(code, 3);
  assert.match(stderr, /unsafe_file: .*chmod 600 \S*ca_key/s);
});

Deno.test("CFG-6: off loopback plain HTTP is refused, and warned of where it is wanted", async () => {
  await using home = await temporaryHome();
  const env = { OPENBOX_ADDR: ":0" };
  const refused = await runControl({ home: home.path, env });
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /insecure_http: .*--tls-cert/s);
  await assert.rejects(Deno.stat(home.path), Deno.errors.NotFound, "nothing was made");
  await using control = await startControl({ home: home.path, env, args: ["--insecure-http"] });
  assert.match(control.stderr(), /plain HTTP to other machines/);
  assert.doesNotMatch(control.url, /0\.0\.0\.0|\[::\]/, "an address that can be dialled");
});

Deno.test("TLS is served with the files given", async () => {
  await using home = await temporaryHome();
  await using control = await startControl({
    home: home.path,
    args: ["--tls-cert", `${FIXTURES}tls.crt`, "--tls-key", `${FIXTURES}tls.key`],
  });
  assert.match(control.url, /^https:/);
  using client = Deno.createHttpClient({
    caCerts: [await Deno.readTextFile(`${FIXTURES}tls.crt`)],
  });
  const token = await bootstrapToken(home.path);
  assert.equal((await whoami(control.url, token, { client })).status, 200);
});

Deno.test("a port that is taken ends the start, and loses no first token", async () => {
  await using home = await temporaryHome();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const addr = `127.0.0.1:${(taken.addr as Deno.NetAddr).port}`;
  const refused = await runControl({
    home: home.path,
    args: ["--addr", addr, "--print-bootstrap-token"],
  });
  assert.equal(refused.code, 5);
  assert.match(refused.stderr, /something listens there already.*--addr/s);
  await using control = await startControl({ home: home.path, args: ["--print-bootstrap-token"] });
  assert.match(control.stdout(), /obx_/);
});
