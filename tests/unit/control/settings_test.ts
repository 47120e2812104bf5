import assert from "node:assert/strict";
import { type ControlFlags, readControlSettings } from "../../../src/control/settings.ts";
import type { OpenboxError } from "../../../src/errors.ts";
import { fakeHost } from "../../fakes/host.ts";

const read = (flags: ControlFlags, env: Record<string, string> = {}) =>
  readControlSettings(flags, fakeHost({ env: { HOME: "/home/me", ...env }, cwd: "/work dir" }));
const databasePath = ({ database }: ReturnType<typeof read>): string | undefined =>
  database.kind === "postgres" ? undefined : database.path;
const refuses = (code: string, text: RegExp, flags: ControlFlags, env?: Record<string, string>) =>
  assert.throws(() => read(flags, env), (error: Error & { code?: string; hint?: string }) => {
    assert.equal(error.code, code);
    assert.match(`${error.message} ${error.hint}`, text);
    return true;
  });

Deno.test("nothing said: loopback, plain, and files in the home", () => {
  assert.deepEqual(read({}), {
    home: "/home/me/.openbox",
    auditHead: "/home/me/.openbox/control/audit_head.json",
    auditSyslog: undefined,
    listen: { hostname: "127.0.0.1", port: 8080, loopback: true },
    publicUrl: undefined,
    database: { kind: "home", path: "/home/me/.openbox/control/openbox.db" },
    ca: { kind: "home", path: "/home/me/.openbox/control/ca_key" },
    caPassphrase: undefined,
    operationsKey: { kind: "file", path: "/home/me/.openbox/control/operations_key" },
    tls: undefined,
    insecureHttp: false,
    behindProxy: [],
    bootstrap: {
      kind: "make",
      file: "/home/me/.openbox/control/bootstrap_token",
      print: false,
    },
    tracing: false,
    newToken: undefined,
    dispatchLimit: 10_000,
    sourceLimit: 1000,
  });
});

Deno.test("every flag has a variable, and stands above it", () => {
  const settings = { loopback: "127.0.0.1:1", other: "127.0.0.1:2" };
  const table: readonly [
    keyof ControlFlags,
    string,
    string | boolean,
    string,
    (settings: ReturnType<typeof read>) => unknown,
  ][] = [
    ["addr", "OPENBOX_ADDR", settings.loopback, settings.other, (s) => s.listen.port],
    ["url", "OPENBOX_PUBLIC_URL", "https://a", "https://b", (s) => s.publicUrl],
    ["db", "OPENBOX_DB", "/a.db", "/b.db", (s) => databasePath(s)],
    ["ca", "OPENBOX_CA", "/a", "/b", (s) => s.ca],
    ["caPassphraseFile", "OPENBOX_CA_PASSPHRASE_FILE", "/a", "/b", (s) => s.caPassphrase],
    ["insecureHttp", "OPENBOX_INSECURE_HTTP", false, "1", (s) => s.insecureHttp],
    ["bootstrapTokenFile", "OPENBOX_BOOTSTRAP_TOKEN_FILE", "/a", "/b", (s) => s.bootstrap],
    [
      "printBootstrapToken",
      "OPENBOX_PRINT_BOOTSTRAP_TOKEN",
      false,
      "1",
      (s) => s.bootstrap.kind === "make" && s.bootstrap.print,
    ],
    ["newToken", "OPENBOX_NEW_TOKEN", "a", "b", (s) => s.newToken],
    ["dispatchLimit", "OPENBOX_DISPATCH_LIMIT", "60", "70", (s) => s.dispatchLimit],
    ["sourceLimit", "OPENBOX_SOURCE_LIMIT", "60", "70", (s) => s.sourceLimit],
    ["behindProxy", "OPENBOX_BEHIND_PROXY", "10.0.0.4", "10.0.0.0/8", (s) => s.behindProxy],
  ];
  for (const [flag, variable, flagged, set, pick] of table) {
    const nothing = pick(read({}));
    const byFlag = pick(read({ [flag]: flagged })),
      byVariable = pick(read({}, { [variable]: set }));
    assert.notDeepEqual(byVariable, nothing, variable);
    assert.notDeepEqual(byFlag, byVariable, variable);
    assert.deepEqual(pick(read({ [flag]: flagged }, { [variable]: set })), byFlag, variable);
  }
  const tls = { cert: "/a.pem", key: "/a.key" };
  assert.deepEqual(read({ tlsCert: tls.cert, tlsKey: tls.key }).tls, tls);
  assert.deepEqual(read({}, { OPENBOX_TLS_CERT: tls.cert, OPENBOX_TLS_KEY: tls.key }).tls, tls);
  assert.equal(
    read({ tlsCert: "/x" }, { OPENBOX_TLS_CERT: "/a", OPENBOX_TLS_KEY: "/k" }).tls?.cert,
    "/x",
  );
});

Deno.test("OPENBOX_ADDR goes before PORT, and PORT is every address", () => {
  assert.equal(read({}, { OPENBOX_ADDR: "127.0.0.1:1", PORT: "2" }).listen.port, 1);
  assert.equal(read({ addr: ":3", insecureHttp: true }, { PORT: "2" }).listen.port, 3);
  const { listen } = read({ insecureHttp: true }, { PORT: "2" });
  assert.deepEqual(listen, { hostname: undefined, port: 2, loopback: false });
  refuses("bad_setting", /PORT/, {}, { PORT: "http" });
});

Deno.test("CFG-6: plain HTTP off loopback is refused unless somebody says that it is wanted", () => {
  for (const addr of [":8080", "0.0.0.0:8080", "[::]:8080", "10.0.0.4:8080"]) {
    refuses("insecure_http", /--tls-cert.*--insecure-http/, { addr });
    assert.ok(read({ addr, insecureHttp: true }).insecureHttp);
    assert.ok(read({ addr, tlsCert: "/c", tlsKey: "/k" }).tls);
  }
  for (const value of ["0", "false", "FALSE"]) {
    refuses("insecure_http", /./, { addr: ":1" }, { OPENBOX_INSECURE_HTTP: value });
  }
  for (const addr of ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"]) read({ addr });
  refuses("insecure_http", /http:\/\/box/, { url: "http://box.example.com" });
  read({ url: "http://box.example.com", insecureHttp: true });
  read({ url: "https://box.example.com" });
});

Deno.test("a plain listener with a public https:// URL is one behind a proxy", () => {
  const url = "https://box.example.com";
  assert.deepEqual(read({ url }).behindProxy, ["127.0.0.0/8", "::1/128"]);
  assert.deepEqual(read({ url, behindProxy: "10.0.0.4, fd00::/8" }).behindProxy, [
    "10.0.0.4/32",
    "fd00::/8",
  ]);
  // with TLS of its own nobody need stand in front
  assert.deepEqual(read({ url, tlsCert: "/c", tlsKey: "/k" }).behindProxy, []);
  // where others reach the listener, the proxy has to be named, and has to be asked by HTTPS
  refuses("insecure_http", /--behind-proxy/, { addr: ":80", url });
  refuses("insecure_http", /--behind-proxy/, { addr: ":80", behindProxy: "10.0.0.4" });
  assert.deepEqual(read({ addr: ":80", url, behindProxy: "10.0.0.4" }).behindProxy, [
    "10.0.0.4/32",
  ]);
  for (
    const text of ["box", "10.0.0.4/33", "0.0.0.0/0", "::/0", "::1/129", "fe80::1%eth0", "1.2.3.4,"]
  ) {
    refuses("bad_setting", /--behind-proxy: .* is no address/, { behindProxy: text });
  }
});

Deno.test("paths are read from the working directory", () => {
  assert.equal(databasePath(read({ db: "a.db" })), "/work dir/a.db");
  assert.deepEqual(read({ ca: "k" }).ca, { kind: "given", path: "/work dir/k" });
});

Deno.test("STO-16: a Postgres database is named in the environment, and its password shows nowhere", () => {
  const settings = read({}, { OPENBOX_DB: "postgres://u:hunter2@h.example/d" });
  const { database } = settings;
  assert.ok(database.kind === "postgres");
  assert.equal(database.dsn.password.reveal(), "hunter2");
  assert.doesNotMatch(JSON.stringify(settings) + Deno.inspect(settings, { depth: 9 }), /hunter2/);
  assert.equal(read({ db: "postgresql://u@h.example/d" }).database.kind, "postgres");
});

Deno.test("STO-16: a password in the arguments and a bad address are refused, and not repeated", () => {
  const refusesQuietly = (code: string, flags: ControlFlags, env: Record<string, string> = {}) =>
    assert.throws(() => read(flags, env), (error: OpenboxError) => {
      assert.equal(error.code, code);
      assert.doesNotMatch(`${error.message} ${error.hint} ${error.stack}`, /hunter2/);
      return true;
    });
  refusesQuietly("bad_setting", { db: "postgres://u:hunter2@h/d" });
  refusesQuietly("bad_setting", { db: "postgres://u:hunter2@h/d?nonsense=1" });
  refusesQuietly("bad_setting", {}, { OPENBOX_DB: "postgres://u:hun/ter2@hunter2:x/d" });
  refusesQuietly("not_supported", {}, { OPENBOX_DB: "mysql://u:hunter2@h/d" });
});

Deno.test("the CA's key comes as a file or as text, not as both", () => {
  const pem = { OPENBOX_CA_KEY: "pem" };
  assert.equal(read({}, pem).ca.kind, "text");
  assert.deepEqual(read({ ca: "/k" }, pem).ca, { kind: "given", path: "/k" });
  refuses("bad_setting", /OPENBOX_CA and OPENBOX_CA_KEY/, {}, { ...pem, OPENBOX_CA: "/k" });
});

Deno.test("ROT-9: the CA's key and its passphrase are taken out of the environment", () => {
  const env = {
    HOME: "/home/me",
    OPENBOX_CA_KEY: "a private key",
    OPENBOX_CA_PASSPHRASE: "five words",
  };
  const host = fakeHost({ env });
  const { ca, caPassphrase } = readControlSettings({}, host);
  assert.deepEqual([ca.kind, caPassphrase?.kind], ["text", "text"]);
  assert.equal(host.env("OPENBOX_CA_KEY"), undefined);
  assert.equal(host.env("OPENBOX_CA_PASSPHRASE"), undefined);
  assert.doesNotMatch(Deno.inspect({ ca, caPassphrase }), /private|five/);
});

Deno.test("the CA's passphrase comes as a file or as text; its keys may lie in the database", () => {
  const both = { OPENBOX_CA_PASSPHRASE: "five words", OPENBOX_CA_PASSPHRASE_FILE: "/p" };
  refuses("bad_setting", /PASSPHRASE_FILE and OPENBOX_CA_PASSPHRASE/, {}, both);
  assert.deepEqual(read({ ca: "database" }).ca, { kind: "database" });
  assert.equal(read({}, { OPENBOX_CA: "database" }).ca.kind, "database");
  assert.equal(read({ ca: "./database" }).ca.kind, "given");
  const postgres = { OPENBOX_DB: "postgres://u:p@h/d" };
  assert.equal(read({}, postgres).ca.kind, "database", "by itself, where several may share it");
  assert.equal(read({}, { ...postgres, OPENBOX_CA: "/k" }).ca.kind, "given");
});

Deno.test("the first token comes as a file or as text, not as both", () => {
  const text = { OPENBOX_BOOTSTRAP_TOKEN: "obx_x" };
  assert.equal(read({}, text).bootstrap.kind, "text");
  assert.equal(read({ bootstrapTokenFile: "/t" }, text).bootstrap.kind, "file");
  refuses("bad_setting", /are set/, {}, { ...text, OPENBOX_BOOTSTRAP_TOKEN_FILE: "/t" });
});

Deno.test("half of a TLS pair, a bad URL and a bad limit are refused", () => {
  refuses("bad_setting", /--tls-key/, { tlsCert: "/c" });
  refuses("bad_setting", /--tls-key/, {}, { OPENBOX_TLS_KEY: "/k" });
  refuses("bad_setting", /--url/, { url: "box" });
  for (const dispatchLimit of ["0", "-1", "1.5", "many"]) {
    refuses("bad_setting", /DISPATCH_LIMIT/, { dispatchLimit });
    refuses("bad_setting", /SOURCE_LIMIT/, { sourceLimit: dispatchLimit });
  }
});

Deno.test("CFG-9: without a home everything can be given, and what is missing is named", () => {
  const env = { OPENBOX_DB: "/db", OPENBOX_CA_KEY: "pem" };
  const homeless = (env: Record<string, string>) => readControlSettings({}, fakeHost({ env }));
  assert.equal(homeless(env).home, undefined);
  assert.deepEqual(homeless(env).bootstrap, { kind: "make", file: undefined, print: false });
  assert.throws(() => homeless({ OPENBOX_CA_KEY: "pem" }), /OPENBOX_HOME/);
});

Deno.test("a secret in the settings does not show", () => {
  const env = { OPENBOX_CA_KEY: "secretpem", OPENBOX_BOOTSTRAP_TOKEN: "obx_secret" };
  assert.doesNotMatch(
    JSON.stringify(read({}, env)) + Deno.inspect(read({}, env)),
    /secretpem|obx_s/,
  );
});
