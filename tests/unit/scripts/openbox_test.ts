import assert from "node:assert/strict";
import { createCheckout, FAKE_DENO, type Ran, type RunOptions } from "./checkout.ts";

/** How scripts/openbox called Deno. */
interface Call {
  readonly cwd: string;
  readonly pid: number;
  readonly flags: readonly string[];
  readonly args: readonly string[];
  readonly ran: Ran;
}

async function call(args: readonly string[], options: RunOptions = {}): Promise<Call> {
  await using checkout = await createCheckout();
  await checkout.program("deno", FAKE_DENO);
  const ran = await checkout.run("scripts/openbox", args, options);
  const [cwd, pid, _deno, ...words] = ran.stdout.split("\0").slice(0, -1);
  const main = words.indexOf(`${await Deno.realPath(checkout.path)}/main.ts`);
  return {
    cwd: cwd!,
    pid: Number(pid),
    flags: words.slice(0, main),
    args: words.slice(main + 1),
    ran,
  };
}

const value = (flags: readonly string[], name: string) =>
  flags.find((flag) => flag.startsWith(`${name}=`))?.slice(name.length + 1);

Deno.test("arguments reach openbox word by word, whatever they hold", async () => {
  const args = [
    "-t",
    "x",
    "printf",
    "%s\n",
    "a  b",
    "",
    "*",
    "$HOME",
    "'",
    '"',
    "line\nline\n",
    "-- ",
  ];
  assert.deepEqual((await call(args)).args, args);
});

Deno.test("the caller's directory is kept and the process becomes openbox", async () => {
  const { cwd, pid, ran } = await call(["nodes"], { cwd: "/" });
  assert.equal(cwd, "/");
  assert.equal(pid, ran.pid);
});

Deno.test("the scripts say nothing once the packages are there", async () => {
  await using checkout = await createCheckout();
  await checkout.program("deno", FAKE_DENO);
  const first = await checkout.run("scripts/openbox", ["version"]);
  assert.match(first.stderr, /^fetching the packages of deno.lock \(once\)\n$/);
  assert.equal((await checkout.run("scripts/openbox", ["version"])).stderr, "");
});

Deno.test("the packages of another lock are fetched, however old its file and whoever filled the cache", async () => {
  await using one = await createCheckout();
  await using other = await createCheckout();
  const env = { DENO_DIR: `${one.path}/shared` };
  const lock = `${other.path}/deno.lock`;
  await Deno.writeTextFile(lock, "\n", { append: true });
  await Deno.utime(lock, 0, 0);
  for (const checkout of [one, other]) {
    await checkout.program("deno", FAKE_DENO);
    const first = await checkout.run("scripts/openbox", ["version"], { env });
    assert.match(first.stderr, /^fetching the packages/);
  }
  for (const checkout of [one, other]) {
    assert.equal((await checkout.run("scripts/openbox", ["version"], { env })).stderr, "");
  }
});

Deno.test("a link to the script finds its checkout", async () => {
  await using checkout = await createCheckout();
  await checkout.program("deno", FAKE_DENO);
  await Deno.symlink(`../check out/scripts/openbox`, `${checkout.bin}/openbox`);
  const ran = await checkout.run(`${checkout.bin}/openbox`, ["nodes"], { cwd: "/" });
  assert.ok(ran.stdout.includes("/check out/main.ts\0nodes\0"), ran.stdout);
});

Deno.test("the control plane may start nothing and sees its home and the folders of the files it was given", async () => {
  const { flags } = await call([
    "control",
    "--tls-cert",
    "/etc/a b/cert.pem",
    "--tls-key=/etc/key",
    "--url",
    "x",
  ], {
    env: { OPENBOX_HOME: "/srv/box", OPENBOX_DB: "/data/openbox.db" },
  });
  assert.ok(!flags.some((flag) => /^(-A|--allow-(all|run|ffi))/.test(flag)));
  assert.equal(value(flags, "--allow-read"), "/srv/box,/data,/etc/a b,/etc");
  assert.equal(
    value(flags, "--allow-write"),
    [
      "/srv/box",
      ...["", ".pid", ".copy", ".copy-wal", ".copy-shm"].map((s) => `/data/openbox.db${s}`),
    ]
      .join(","),
  );
});

Deno.test("STO-16: the address of a Postgres is no path, and is not in Deno's arguments", async () => {
  const dsn =
    "postgres://u:hunter2@db.example.com/box?sslmode=verify-full&sslrootcert=%2Fetc/pg%2Fca.crt&options=x";
  for (const args of [["control"], ["control", "--db", dsn], ["control", `--db=${dsn}`]]) {
    const env = { OPENBOX_HOME: "/srv/box", ...(args.length === 1 && { OPENBOX_DB: dsn }) };
    const { flags } = await call(args, { env });
    assert.equal(value(flags, "--allow-read"), "/srv/box,/etc/pg");
    assert.equal(value(flags, "--allow-write"), "/srv/box");
    assert.doesNotMatch(flags.join(" "), /hunter2|postgres:/);
  }
});

Deno.test("a command on a node reads and writes openbox's home alone, also where a command names a mode", async () => {
  const env = { HOME: "/home/me" };
  for (
    const words of [["control"], ["token", "create", "--out=/etc/passwd"], ["--tls-ca", "/etc"]]
  ) {
    const { flags, args } = await call(["-t", "x", ...words], { env });
    assert.equal(value(flags, "--allow-read"), "/home/me/.openbox");
    assert.equal(value(flags, "--allow-write"), "/home/me/.openbox");
    assert.match(value(flags, "--allow-run")!, /^\/bin\/sh,.*\/check out\/scripts\/openbox$/);
    assert.ok(!flags.some((flag) => /^(-A|--allow-(all|run$|read$|write$|ffi))/.test(flag)));
    assert.deepEqual(args, ["-t", "x", ...words]);
  }
});

Deno.test("a command of the CLI may read and write the files that its user names, and starts nothing", async () => {
  const home = "/home/me/.openbox";
  const cases: [string[], string, string][] = [
    [["login", "--token-file", "/t/a b", "--tls-ca=/t/ca"], `${home},/t/a b,/t/ca`, home],
    [["login", "--token-file", "-"], home, home],
    [["token", "create", "--out", "/tmp/a b"], home, `${home},/tmp/a b`],
    [["ca", "seal", "--passphrase-file=/t/p"], `${home},/t/p`, home],
    [
      ["backup", "--json", "/tmp/a b"],
      `${home},/tmp/a b,/tmp/a b.partial`,
      `${home},/tmp/a b,/tmp/a b.partial`,
    ],
    [["restore", "--db=/data/box.db", "/tmp/x"], `${home},/data,/tmp/x`, `${home},/data`],
    [["backup", "new"], `${home},new,new.partial,/`, `${home},new,new.partial`],
  ];
  for (const [args, read, write] of cases) {
    const { flags } = await call(args, { env: { HOME: "/home/me" }, cwd: "/" });
    assert.equal(value(flags, "--allow-read"), read, args.join(" "));
    assert.equal(value(flags, "--allow-write"), write, args.join(" "));
    assert.ok(!flags.some((flag) => /^(-A|--allow-(all|run|ffi))/.test(flag)));
  }
});

Deno.test("the daemon has its home and its socket's folder, and starts nothing", async () => {
  const { flags } = await call(["daemon"], {
    env: { HOME: "/home/me", OPENBOX_DAEMON_SOCKET: "/run/x/openboxd.sock" },
  });
  const given = await call(["daemon", "--socket", "/tmp/a b/s"], { env: { HOME: "/home/me" } });
  assert.equal(value(given.flags, "--allow-write"), "/home/me/.openbox,/tmp/a b");
  assert.equal(value(flags, "--allow-read"), "/home/me/.openbox,/run/x");
  assert.equal(value(flags, "--allow-write"), "/home/me/.openbox,/run/x");
  assert.ok(!flags.some((flag) => /^(-A|--allow-(all|run|ffi))/.test(flag)));
});

Deno.test("CFG-7: what would change Deno does not reach it, and the launcher names itself", async () => {
  await using checkout = await createCheckout();
  const tell = `env | sed -n 's/^\\(DENO\\|NODE\\|LD\\|OPENBOX\\)_/&/p' >&2;`;
  await checkout.program("deno", FAKE_DENO.replace("\n*) printf", `\n*) ${tell} printf`));
  await Deno.symlink("/usr/bin/env", `${checkout.bin}/env`);
  const ran = await checkout.run("scripts/openbox", ["version"], {
    env: { DENO_CERT: "/x", DENO_TLS_CA_STORE: "system", NODE_OPTIONS: "-r x", LD_PRELOAD: "" },
  });
  const names = ran.stderr.split("\n").slice(1, -1).map((line) => line.split("=")[0]).sort();
  assert.deepEqual(names, [
    ...["DENO_DIR", "DENO_NO_PACKAGE_JSON", "DENO_NO_UPDATE_CHECK"],
    ...(Deno.build.os === "linux" ? ["OPENBOX_IGNORED_SIGNALS"] : []),
    "OPENBOX_PROGRAM",
  ]);
});

Deno.test("variables of the caller's environment are left as they are", async () => {
  await using checkout = await createCheckout();
  await checkout.program(
    "deno",
    FAKE_DENO.replace(`printf '%s\\0' "$PWD"`, `printf '%s\\0' "$version" "$home" "$root"`),
  );
  const ran = await checkout.run("scripts/openbox", [], {
    env: { version: "1", home: "2", root: "3" },
  });
  assert.deepEqual(ran.stdout.split("\0").slice(0, 3), ["1", "2", "3"]);
});

Deno.test("a home whose path has a comma is refused: Deno would read two paths", async () => {
  const { ran } = await call(["nodes"], { env: { OPENBOX_HOME: "/srv/a,b" } });
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /comma: set OPENBOX_HOME/);
});
