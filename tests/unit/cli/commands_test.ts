import assert from "node:assert/strict";
import { VERSION } from "../../../src/version.ts";
import { makeHome } from "./call.ts";
import { aNode, startFakeControl } from "./fake_control.ts";

/** A logged-in home and its control plane. */
async function world() {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await makeHome());
  const control = stack.use(startFakeControl());
  await home.call(["login", "--server", control.url], { stdin: control.token });
  control.requests.splice(0);
  return { home, control, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

Deno.test("openbox version prints `openbox VERSION`", async () => {
  await using home = await makeHome();
  for (const args of [["version"], ["--version"]]) {
    assert.equal((await home.call(args)).out, `openbox ${VERSION}\n`);
  }
  const { version } = JSON.parse((await home.call(["version", "--json"])).out);
  assert.equal(version, VERSION);
  const project = await Deno.readTextFile(new URL("../../../deno.json", import.meta.url));
  assert.equal(JSON.parse(project).version, VERSION);
});

Deno.test("openbox nodes prints the columns that scripts read, `-` for no tags", async () => {
  await using w = await world();
  w.control.nodes = [
    aNode({ revocations: { version: 7, age_seconds: 12, stale: false } }),
    aNode({
      revocations: { version: 3, age_seconds: 90_000, stale: true },
      id: "node_0000000000000002",
      name: "long-name-of-a-node",
      os: "linux",
      arch: "amd64",
      tags: [],
      online: false,
    }),
  ];
  const { out, err } = await w.home.call(["nodes", "-t", "x&y"]);
  assert.equal(
    out,
    [
      "NAME                 ID                     STATUS   OS/ARCH       TAGS       ADDR           REVOCATIONS",
      "mac                  node_0000000000000001  online   darwin/arm64  mac,build  10.0.0.4:7600  ok",
      "long-name-of-a-node  node_0000000000000002  offline  linux/amd64   -          10.0.0.4:7600  stale",
      "",
    ].join("\n"),
  );
  assert.equal(err, "");
  assert.deepEqual(w.control.requests, ["GET /v1/nodes?tag=x%26y {}"]);
});

Deno.test("what a node calls itself cannot move the cursor", async () => {
  await using w = await world();
  w.control.nodes = [aNode({ name: "\x1b[2J\nroot", addr: "a\u202eb" })];
  const { out } = await w.home.call(["nodes"]);
  assert.match(out, /^\\u001b\[2J\\u000aroot /m);
  assert.match(out, / a\\u202eb +-$/m);
});

Deno.test("no nodes: the head alone, and on stderr how to get one", async () => {
  await using w = await world();
  w.control.nodes = [];
  const { code, out, err } = await w.home.call(["nodes"]);
  assert.equal(out, "NAME  ID  STATUS  OS/ARCH  TAGS  ADDR  REVOCATIONS\n");
  assert.match(err, /openbox node token/);
  assert.equal(code, 0);
});

Deno.test("--json is one document with the names of the wire", async () => {
  await using w = await world();
  const json = async (...args: string[]) =>
    JSON.parse((await w.home.call([...args, "--json"])).out);
  assert.deepEqual(await json("nodes"), { nodes: w.control.nodes });
  assert.deepEqual(await json("node", "show", "mac"), aNode());
  assert.deepEqual(await json("whoami"), {
    user_id: "usr_0123456789ab",
    name: "me",
    account_id: "acc_0123456789ab",
    server: w.control.url,
    ca_fingerprint: w.control.fingerprint,
    token_expires_at: null,
  });
  const token = await json("node", "token");
  assert.deepEqual(Object.keys(token), [
    "token",
    "server",
    "expires_at",
    "ca_fingerprint",
    "command",
    "id",
  ]);
  assert.deepEqual(Object.keys(await json("ca-keygen")), ["ca_key", "ca_fingerprint"]);
  assert.deepEqual(await json("logout"), { server: w.control.url });
});

Deno.test("a failure under --json is a document too, and a line on stderr", async () => {
  await using w = await world();
  const { code, out, err } = await w.home.call(["node", "show", "nobody", "--json"]);
  assert.equal(code, 4);
  assert.equal(JSON.parse(out).error.code, "node_not_found");
  assert.match(err, /^openbox: node_not_found: .*\n +hint: openbox nodes\n$/);
});

Deno.test("node token prints the command, with the server that this CLI is logged in to", async () => {
  await using w = await world();
  const { out, err } = await w.home.call([
    "node",
    "token",
    "--tag",
    "gpu",
    "-t",
    "prod",
    "--ttl",
    "1h",
  ]);
  assert.equal(
    out,
    `OPENBOX_ENROLL_TOKEN=enroll_x.y openbox agent --server ${w.control.url}\n`,
  );
  assert.match(err, /within 1h; it works once/);
  assert.deepEqual(w.control.requests, [
    'POST /v1/enroll-tokens {"tags":["gpu","prod"],"ttl_seconds":3600}',
  ]);
});

Deno.test("a node is renamed and tagged by name, keeping what was not named", async () => {
  await using w = await world();
  const rename = await w.home.call(["node", "rename", "mac", "mini"]);
  assert.match(rename.out, /^mini +node_0000000000000001 +online +darwin\/arm64 +mac,build /m);
  await w.home.call(["node", "tag", "mini", "gpu", "mac", "--rm", "build"]);
  assert.deepEqual(w.control.nodes[0]!.tags, ["mac", "gpu"]);
  assert.equal(w.control.nodes[0]!.name, "mini");
  const nothing = await w.home.call(["node", "tag", "mini"]);
  assert.equal(nothing.code, 2);
  assert.deepEqual(w.control.nodes[0]!.tags, ["mac", "gpu"]);
});

Deno.test("a name that two nodes have is refused with their ids", async () => {
  await using w = await world();
  w.control.nodes.push(aNode({ id: "node_0000000000000002" }));
  const { code, err } = await w.home.call(["node", "rm", "mac"]);
  assert.equal(code, 5);
  assert.match(
    err,
    /^openbox: ambiguous: .*\n +hint: .*node_0000000000000001, node_0000000000000002/,
  );
  assert.equal(w.control.nodes.length, 2);
  const byId = await w.home.call(["node", "rm", "node_0000000000000002"]);
  assert.equal(byId.out, "removed mac (node_0000000000000002)\n");
  assert.equal(w.control.nodes.length, 1);
});

Deno.test("ca-keygen prints one text with both keys, which the CA reads", async () => {
  await using home = await makeHome();
  const { out, err } = await home.call(["ca-keygen"]);
  assert.equal(out.match(/-----BEGIN OPENSSH PRIVATE KEY-----/g)?.length, 2);
  assert.match(err, /SHA256:/);
});

Deno.test("usage errors end with 2, a guess and the help to read", async () => {
  await using home = await makeHome();
  const cases: [string[], RegExp][] = [
    [["nodse"], /no command nodse; did you mean `nodes`\?\n +hint: openbox help /],
    [["nodes", "--jsn"], /no flag --jsn; did you mean --json\?\n +hint: openbox help nodes\n/],
    [["node", "rename", "a"], /NAME is missing\n +hint: openbox help node rename\n/],
    [["node", "rename", "a", "b", "c"], /c is one too many/],
    [["login", "--server"], /--server needs a value/],
    [["nodes", "--tag", ""], /--tag "": it is empty/],
    [["login", "--server", "a", "--server", "b"], /--server is given twice/],
    [["completion", "tcsh"], /no completion for "tcsh"/],
    [["node", "add", "--host", "x"], /not_supported: openbox node add/],
    [["agent", "--mesh"], /not_supported: --mesh/],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await home.call(args);
    assert.equal(code, 2, args.join(" "));
    assert.match(err, message);
    assert.equal(out, "");
  }
});

Deno.test("help of every command wraps to the terminal and shows its flags", async () => {
  await using home = await makeHome();
  const names = [
    ...["", "run", "nodes", "node", "node token", "node tag", "login", "control", "agent"],
    ...["node tokens", "user add", "token create", "token revoke", "rule add", "can"],
  ];
  for (const name of names) {
    const words = name.split(" ").filter(Boolean);
    const [byWord, byFlag] = await Promise.all([
      home.call(["help", ...words], { stdoutTerminal: true, columns: 60 }),
      home.call([...words, "--help"], { stdoutTerminal: true, columns: 60 }),
    ]);
    assert.equal(byWord.code, 0, byWord.err);
    assert.equal(byWord.out, byFlag.out);
    assert.match(byWord.out, /--help/);
    // examples are to be copied as they stand
    const prose = byWord.out.replace(/^Examples:\n(?: .*\n)+/m, "");
    for (const line of prose.split("\n")) {
      const plain = line.replaceAll("\x1b[1m", "").replaceAll("\x1b[22m", "");
      assert(plain.length <= 60, `${name}: ${line}`);
    }
  }
});

Deno.test("help is bold on a terminal, and plain in a pipe or with NO_COLOR", async () => {
  await using home = await makeHome();
  const bold = (out: string) => out.includes("\x1b[1m");
  assert(bold((await home.call(["help"], { stdoutTerminal: true })).out));
  assert(!bold((await home.call(["help"])).out));
  const off = { stdoutTerminal: true, env: { NO_COLOR: "1" } };
  assert(!bold((await home.call(["help"], off)).out));
});

Deno.test("a reader that went away ends a command with 141 and not a word", async () => {
  await using w = await world();
  for (const args of [["nodes"], ["help"], ["version"], ["whoami", "--json"]]) {
    const { run } = await import("../../../src/cli/start.ts");
    const { fakeHost } = await import("../../fakes/host.ts");
    const host = fakeHost({ args, env: { OPENBOX_HOME: w.home.path } });
    host.out.broken = true;
    assert.equal(await run(host), 141, args.join(" "));
    assert.equal(host.err.text(), "");
  }
});

Deno.test("no control plane there: the address, the reason and the way out, exit 6", async () => {
  await using home = await makeHome();
  const gone = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  gone.close();
  const url = `http://127.0.0.1:${(gone.addr as Deno.NetAddr).port}`;
  const env = { OPENBOX_SERVER: url, OPENBOX_TOKEN: "obx_x" };
  const { code, err } = await home.call(["nodes"], { env });
  assert.equal(code, 6);
  assert.match(err, /^openbox: control_unreachable: Cannot reach .*: Connection refused\n +hint: /);
  assert(err.includes(url));
});

Deno.test("without HOME a command that needs no file works, one that does says what to set", async () => {
  await using home = await makeHome();
  const env = { OPENBOX_HOME: "" };
  assert.equal((await home.call(["version"], { env })).code, 0);
  const { code, err } = await home.call(["nodes"], { env });
  assert.equal(code, 2);
  assert.match(err, /^openbox: bad_setting: .*\n +hint: export OPENBOX_HOME=/);
});
