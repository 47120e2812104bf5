import assert from "node:assert/strict";
import { makeHome } from "./call.ts";
import { startFakeControl } from "./fake_control.ts";

const login = (url: string, ...more: string[]) => ["login", "--server", url, ...more];

Deno.test("login keeps the token, pins the CA it shows, and says where it logged in", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const { code, out, err } = await home.call(login(control.url), { stdin: `${control.token}\n` });
  assert.equal(out, `logged in as me on ${control.url}\n`);
  assert.equal(code, 0);
  assert(err.includes(control.fingerprint));
  assert(!err.includes(control.token));
  assert.equal((await Deno.stat(home.config)).mode! & 0o777, 0o600);
  const stored = JSON.parse(await Deno.readTextFile(home.config));
  assert.equal(stored.server, control.url);
  assert.equal(stored.token, control.token);
  assert.equal(stored.key_pem, "");
  assert.equal(stored.user, "me");

  const me = await home.call(["whoami"]);
  assert.equal(me.out, `me (usr_0123456789ab) @ ${control.url}\n`);
});

Deno.test("CFG-8: the token comes from a file, stdin, the environment or, with a warning, an argument", async () => {
  await using control = startFakeControl();
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, `${control.token}\r\n`);
  const ways: [string[], Record<string, unknown>][] = [
    [["--token-file", file], {}],
    [["--token-file", "-"], { stdin: control.token }],
    [[], { env: { OPENBOX_TOKEN: control.token } }],
    [["--token", control.token], {}],
  ];
  for (const [args, options] of ways) {
    await using home = await makeHome();
    const { code, err } = await home.call(login(control.url, ...args), options);
    assert.equal(code, 0, err);
    assert.equal(err.includes("warning: --token shows"), args[0] === "--token");
  }
  await Deno.remove(file);
});

Deno.test("on a terminal the token is asked for, and neither it nor an echo of it is printed", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const typed = `wrong\x15${control.token}x\x7f\r`;
  const { code, out, err } = await home.call(login(control.url), {
    stdin: typed,
    stdinTerminal: true,
  });
  assert.equal(code, 0, err);
  assert(err.startsWith(`Token for ${control.url}: \n`), err);
  assert(!(out + err).includes(control.token));
});

Deno.test("Ctrl-C at the question ends with 130 and keeps nothing", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const { code } = await home.call(login(control.url), { stdin: "obx_\x03", stdinTerminal: true });
  assert.equal(code, 130);
  assert.deepEqual(control.requests, []);
  await assert.rejects(Deno.stat(home.config), Deno.errors.NotFound);
});

Deno.test("what is not a user's token is refused before it is sent", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  for (
    const [token, message] of [["", /no token/], ["enroll_x.y", /new node/], [
      "a b",
      /not a/,
    ]] as const
  ) {
    const { code, err } = await home.call(login(control.url), { stdin: token });
    assert.equal(code, 3);
    assert.match(err, message);
  }
  assert.deepEqual(control.requests, []);
  const wrong = await home.call(login(control.url), { stdin: "obx_wrong" });
  assert.equal(wrong.code, 3);
  assert.match(wrong.err, /^openbox: unauthorized: this token is not known here\n +hint: /m);
  await assert.rejects(Deno.stat(home.config), Deno.errors.NotFound);
});

Deno.test("CERT-26: login refuses a CA that is not the one given or pinned, and says how to accept it", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const stdin = control.token;
  const other = `SHA256:${"A".repeat(43)}`;
  const refused = await home.call(login(control.url, "--ca-fingerprint", other), { stdin });
  assert.equal(refused.code, 3);
  assert.match(refused.err, /^openbox: ca_changed: /);
  await assert.rejects(Deno.stat(home.config), Deno.errors.NotFound);

  const given = ["--ca-fingerprint", control.fingerprint];
  assert.equal((await home.call(login(control.url, ...given), { stdin })).code, 0);
  control.swapCa();
  const again = await home.call(login(control.url), { stdin });
  assert.equal(again.code, 3);
  assert(again.err.includes(`--ca-fingerprint ${control.fingerprint}`), again.err);
  const accepted = login(control.url, "--ca-fingerprint", control.fingerprint);
  assert.equal((await home.call(accepted, { stdin })).code, 0);
});

Deno.test("CFG-6: login over plain HTTP to another machine is refused, and with the flag warned of", async () => {
  await using home = await makeHome();
  const far = login("http://192.0.2.1:8080");
  const refused = await home.call(far, { stdin: "obx_x" });
  assert.equal(refused.code, 3);
  assert.match(refused.err, /^openbox: insecure_http: .*\n +hint: .*--insecure-http/m);
  const gone = new AbortController();
  gone.abort(new Error("enough"));
  const warned = await home.call([...far, "--insecure-http"], {
    stdin: "obx_x",
    signal: gone.signal,
  });
  assert.match(warned.err, /^openbox: warning: http:\/\/192\.0\.2\.1:8080 is plain HTTP/);
});

Deno.test("CFG-4: a config.json that is not ours is named, refused with the remedy, and left alone", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  await home.call(login(control.url), { stdin: control.token });
  const good = await Deno.readTextFile(home.config);
  const damaged: [string, RegExp][] = [
    [good.slice(0, good.length / 2), /only a part of it/],
    ["", /empty/],
    ["\x00\x01", /not JSON/],
    ["[]", /not a login/],
    ["null", /not a login/],
    [good.replace('"version": 1', '"version": 2'), /newer openbox/],
    [`\ufeff${good}`, /byte order mark/],
    [good.replaceAll("\n", "\r\n"), /CR LF/],
    [good.replace('"token"', '"tokn"'), /not a login \(token\)/],
    ['{"server":"http://x","token":"t","key_pem":"","user":"me"}', /written in Go/],
  ];
  for (const [text, why] of damaged) {
    await Deno.writeTextFile(home.config, text);
    const calls = [["whoami"], ["nodes"], ["logout"], login(control.url)];
    for (const args of calls) {
      const { code, err } = await home.call(args, { stdin: control.token });
      assert.equal(code, 2, `${args} ${err}`);
      assert.match(err, why);
      assert(err.includes(`hint: mv ${home.config} ${home.config}.old, then openbox login`), err);
    }
    assert.equal(await Deno.readTextFile(home.config), text);
  }
});

Deno.test("CFG-1: a config.json open to others is refused with the command that mends it", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  await home.call(login(control.url), { stdin: control.token });
  await Deno.chmod(home.config, 0o644);
  const { code, err } = await home.call(["whoami"]);
  assert.equal(code, 3);
  assert.match(err, /^openbox: unsafe_file: /);
  assert(err.includes(`hint: chmod 600 ${home.config}`), err);
});

Deno.test("with OPENBOX_SERVER and OPENBOX_TOKEN no home is needed, and none is made", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const env = { OPENBOX_SERVER: control.url, OPENBOX_TOKEN: control.token, OPENBOX_HOME: "" };
  for (const args of [["whoami"], ["nodes"], ["node", "show", "mac"]]) {
    const { code, err } = await home.call(args, { env });
    assert.equal(code, 0, err);
  }
  await assert.rejects(Deno.stat(home.path), Deno.errors.NotFound);
});

Deno.test("CFG-9: a home that cannot be made is named, and nothing is taken for done", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const file = `${home.path}-file`;
  await Deno.writeTextFile(file, "");
  try {
    const env = { OPENBOX_HOME: `${file}/home` };
    const { code, out, err } = await home.call(login(control.url), { stdin: control.token, env });
    assert.equal(out, "");
    assert.notEqual(code, 0);
    assert.match(err, /^openbox: \w+: .*-file\/home/m);
    assert(!err.includes(control.token));
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a stored token is not sent to another server than its own", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  await using other = startFakeControl();
  await home.call(login(control.url), { stdin: control.token });
  const { code, err } = await home.call(["nodes"], { env: { OPENBOX_SERVER: other.url } });
  assert.equal(code, 3);
  assert.match(err, /^openbox: not_logged_in: /);
  assert.deepEqual(other.requests, []);
});

Deno.test("a token that ends within 14 days is warned of on stderr", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  const inDays = (days: number) => Math.floor(Date.now() / 1000) + days * 86_400;
  control.tokenExpiresAt = inDays(15);
  const early = await home.call(login(control.url), { stdin: control.token });
  assert(!early.err.includes("warning"));
  control.tokenExpiresAt = inDays(13);
  await home.call(login(control.url), { stdin: control.token });
  const { code, err } = await home.call(["nodes"]);
  assert.equal(code, 0);
  assert.match(err, /^openbox: warning: the token ends in 13 days/);
});

Deno.test("logout forgets the login; every command then says how to log in", async () => {
  await using home = await makeHome();
  await using control = startFakeControl();
  await home.call(login(control.url), { stdin: control.token });
  assert.equal((await home.call(["logout"])).out, `logged out of ${control.url}\n`);
  assert.equal((await home.call(["logout"])).out, "was not logged in\n");
  const { code, err } = await home.call(["nodes"]);
  assert.equal(code, 3);
  assert.match(err, /^openbox: not_logged_in: .*\n +hint: openbox login --server URL/);
});

Deno.test("--tls-ca trusts a certificate of one's own, is kept, and without it the error says so", async () => {
  const fixture = (name: string) => new URL(`../../fixtures/${name}`, import.meta.url).pathname;
  const [cert, key] = await Promise.all(
    ["tls.crt", "tls.key"].map((name) => Deno.readTextFile(fixture(name))),
  );
  await using home = await makeHome();
  await using control = startFakeControl({ tls: { cert: cert!, key: key! } });
  const stdin = control.token;
  const refused = await home.call(login(control.url), { stdin });
  assert.equal(refused.code, 6);
  assert.match(refused.err, /^openbox: control_unreachable: .*\n +hint: --tls-ca FILE trusts/m);

  const wrong = await home.call(login(control.url, "--tls-ca", fixture("tls.key")), { stdin });
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /^openbox: bad_setting: .* holds no certificate/);

  const good = await home.call(login(control.url, "--tls-ca", fixture("tls.crt")), { stdin });
  assert.equal(good.out, `logged in as me on ${control.url}\n`);
  assert.equal((await home.call(["nodes"])).code, 0);
  const env = {
    OPENBOX_SERVER: control.url,
    OPENBOX_TOKEN: control.token,
    OPENBOX_TLS_CA: fixture("tls.crt"),
  };
  assert.equal((await home.call(["whoami"], { env })).code, 0);
});
