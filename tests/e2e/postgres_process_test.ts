import assert from "node:assert/strict";
import { formatCaKeys, generateCaKeys } from "../../src/ca/keys.ts";
import { newUserToken } from "../../src/ids.ts";
import { requireComponent } from "../fixtures/component.ts";
import { LAUNCHER } from "../fixtures/openbox.ts";
import { freePort } from "../fixtures/port.ts";
import { POSTGRES_PASSWORD, startPostgres } from "../fixtures/postgres.ts";
import { eventually } from "../fixtures/processes.ts";
import { runProgram, startProgram } from "./program.ts";

const needs = requireComponent("initdb", "postgres");
const { PATH = "", HOME = "", DENO_DIR, OPENBOX_CACHE } = Deno.env.toObject();
/** Where programs and packages are; no home, which must not be needed. */
const BARE = {
  PATH,
  DENO_DIR: DENO_DIR ?? `${HOME}/.cache/deno`,
  OPENBOX_CACHE: OPENBOX_CACHE ?? `${HOME}/.cache/openbox`,
};

/** Of a control plane without local state. */
const stateless = (OPENBOX_DB: string) => ({
  ...BARE,
  OPENBOX_ADDR: "127.0.0.1:0",
  OPENBOX_DB,
  OPENBOX_CA_KEY: formatCaKeys(generateCaKeys()).reveal(),
  OPENBOX_BOOTSTRAP_TOKEN: newUserToken(),
});

const ask = async (url: string, token?: string) => {
  const response = await fetch(url, {
    headers: { connection: "close", ...(token && { authorization: `Bearer ${token}` }) },
  });
  return { status: response.status, body: await response.json() };
};

Deno.test(
  "STO-12 STO-16 CFG-9: without local state, started before its database: it says what it waits for, then serves",
  needs,
  async () => {
    await using server = await startPostgres();
    const database = await server.newDatabase();
    await server.stop();
    const token = newUserToken(), port = freePort(), url = `http://127.0.0.1:${port}`;
    const folder = await Deno.makeTempDir();
    await using _ = { [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
    const env = {
      ...stateless(server.dsn(database)),
      OPENBOX_ADDR: `127.0.0.1:${port}`,
      OPENBOX_BOOTSTRAP_TOKEN: token,
    };
    await using control = startProgram(LAUNCHER, ["control"], { env, cwd: folder });
    const waiting = await eventually(
      "it answers",
      () => ask(`${url}/health`).catch(() => undefined),
      20_000,
    );
    assert.equal(waiting.status, 503);
    assert.equal(waiting.body.code, "database_unavailable");
    assert.match(waiting.body.error, /waits for its database/);
    await eventually("the log says so", () => /waiting for the database/.test(control.stderr()));
    await server.start();
    const up = performance.now();
    await eventually("it serves", async () => (await ask(`${url}/health`)).status === 200, 20_000);
    const took = performance.now() - up;
    assert.ok(took < 5000, `served after ${Math.round(took)} ms`);
    assert.deepEqual((await ask(`${url}/v1/nodes`, token)).body.nodes, []);

    const cli = { ...BARE, OPENBOX_HOME: `${folder}/home` };
    const fingerprint = /^CA fingerprint (\S+)$/m.exec(
      await eventually(
        "it says where",
        () => /^log in/m.test(control.stdout()) && control.stdout(),
      ),
    )![1]!;
    const login = await runProgram(
      LAUNCHER,
      ["login", "--server", url, "--ca-fingerprint", fingerprint],
      { env: cli, cwd: folder, stdin: `${token}\n` },
    );
    assert.equal(login.code, 0, login.stderr);
    const nodes = await runProgram(LAUNCHER, ["nodes", "--json"], { env: cli, cwd: folder });
    assert.equal(nodes.code, 0, nodes.stderr);

    // another one on the same database, while the first runs: a token for somebody locked out
    const made = await runProgram(LAUNCHER, ["control", "--new-token", "me"], { env, cwd: folder });
    assert.match(made.stdout, /^obx_[A-Za-z0-9]{40}\n$/, made.stderr);
    assert.equal((await ask(`${url}/v1/whoami`, made.stdout.trim())).status, 200);

    const said = control.stdout() + control.stderr() + control.arguments() + made.stderr;
    for (const text of [POSTGRES_PASSWORD, encodeURIComponent(POSTGRES_PASSWORD)]) {
      assert.ok(!said.includes(text), "the password shows");
    }
    control.kill("SIGTERM");
    assert.equal((await control.ended).code, 0, control.stderr());
  },
);

Deno.test(
  "STO-16: a password that is refused ends the start with words, not with itself",
  needs,
  async () => {
    await using server = await startPostgres();
    const run = (dsn: string) =>
      runProgram(LAUNCHER, ["control"], { env: stateless(dsn), cwd: "/" });
    const dsn = server.dsn("postgres");
    const wrong = await run(dsn.replace(encodeURIComponent(POSTGRES_PASSWORD), "hunter2"));
    assert.equal(wrong.code, 2, wrong.stderr);
    assert.match(wrong.stderr, /refuses the user or the password/);
    const nowhere = await run(
      dsn.replace("/postgres", "/nowhere").replace("postgres:", "postgresql:"),
    );
    assert.equal(nowhere.code, 2, nowhere.stderr);
    assert.match(nowhere.stderr, /no such database/);
    for (const { stdout, stderr } of [wrong, nowhere]) {
      assert.doesNotMatch(stdout + stderr, /hunter2|p@ss|p%40ss/);
    }
  },
);

Deno.test(
  "ROT-8: without a CA or a passphrase for one a control plane on Postgres does not start: each would make its own",
  needs,
  async () => {
    await using server = await startPostgres();
    const home = await Deno.makeTempDir();
    await using _ = { [Symbol.asyncDispose]: () => Deno.remove(home, { recursive: true }) };
    const { code, stderr } = await runProgram(LAUNCHER, ["control"], {
      env: {
        ...BARE,
        OPENBOX_HOME: home,
        OPENBOX_ADDR: "127.0.0.1:0",
        OPENBOX_DB: server.dsn(await server.newDatabase()),
      },
      cwd: "/",
    });
    assert.equal(code, 2);
    assert.match(stderr, /OPENBOX_CA_PASSPHRASE/);
  },
);

Deno.test("STO-12: told to end while it waits for its database, it ends", needs, async () => {
  await using control = startProgram(LAUNCHER, ["control"], {
    env: stateless(`postgres://u:hunter2@127.0.0.1:${freePort()}/d`),
    cwd: "/",
  });
  await eventually("it waits", () => /waiting for the database/.test(control.stderr()), 20_000);
  control.kill("SIGTERM");
  const told = performance.now();
  const { code } = await control.ended;
  assert.ok(performance.now() - told < 3000);
  assert.equal(code, 143, control.stderr());
  assert.doesNotMatch(control.stderr(), /hunter2/);
});

Deno.test(
  "a token for somebody locked out is not waited for when the database is away",
  needs,
  async () => {
    const { code, stderr } = await runProgram(LAUNCHER, ["control", "--new-token", "me"], {
      env: stateless(`postgres://u:hunter2@127.0.0.1:${freePort()}/d`),
      cwd: "/",
    });
    assert.equal(code, 6, stderr);
    assert.match(
      stderr,
      /Cannot reach the database postgres:\/\/u@127\.0\.0\.1:\d+\/d: .*ECONNREFUSED/,
    );
    assert.doesNotMatch(stderr, /hunter2/);
  },
);
