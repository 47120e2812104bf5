import assert from "node:assert/strict";
import { type ExecDeps, serveChannel } from "../../../src/agent/exec.ts";
import type { FoundPath } from "../../../src/agent/policy.ts";
import { parseAgentRules } from "../../../src/agent/rules.ts";
import * as v from "valibot";
import { RunEvent } from "../../../src/api/run_events.ts";
import { OUTCOME_REQUEST, RUN_SUBSYSTEM } from "../../../src/api/run.ts";
import { STANDARD_PATH } from "../../../src/agent/login.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { concat, text, toBase64, utf8 } from "../../../src/bytes.ts";
import type { VerifiedUser } from "../../../src/ca/verifier.ts";
import type { UserCertRequest } from "../../../src/ca/authority.ts";
import { u32 } from "../../../src/ssh/wire.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { type FakeBackend, fakeBackend, type FakeProgram } from "../../fakes/isolation.ts";
import { type FakeChannel, fakeChannel } from "../../fakes/server_channel.ts";
import { eventually } from "../../fixtures/processes.ts";
import { aUser, NODE_ID, NOW } from "./world.ts";

const LOGIN = { name: "root", home: "/root", shell: "/bin/zsh", lang: "C.UTF-8" };

const BUILD = {
  ...LOGIN,
  name: "build",
  home: "/home/build",
  account: { name: "build", uid: 1000, gid: 1000 },
};
const PATH = "/opt/bin:/bin";

const PROGRAMS: Record<string, FakeProgram> = {
  vanish: () => Promise.reject(new OpenboxError("lost", "The docker engine was gone")),
  true: () => Promise.resolve(0),
  fail: () => Promise.resolve(7),
  wait: (run) => run.wait(),
  "say; wait": async (run) => {
    await run.write("stdout", "so far");
    return await run.wait();
  },
  yes: async (run) => {
    for (;;) await Promise.race([run.write("stdout", "y\n"), run.wait()]);
  },
  sizes: async (run) => {
    await run.read(); // by then they are known
    const sizes = run.sizes.map(({ cols, rows }) => `${cols}x${rows}`);
    await run.write("stderr", sizes.join(" "));
    return 0;
  },
  cat: async (run) => {
    for (let chunk; (chunk = await run.read());) await run.write("stdout", chunk);
    return 0;
  },
};

interface World {
  readonly backend: FakeBackend;
  /** What the audit was told. */
  readonly told: readonly Record<string, unknown>[];
  readonly clock: FakeClock;
  readonly stopping: AbortController;
  readonly fake: FakeChannel<VerifiedUser>;
  readonly served: Promise<void>;
  /** Resolves when a command has started. */
  started(): Promise<unknown>;
  /** The outcome request's content. */
  // deno-lint-ignore no-explicit-any -- a test reads what it expects
  outcome(): Promise<any>;
}

interface Asked {
  readonly line?: string;
  readonly header?: Record<string, unknown>;
  readonly cert?: Partial<UserCertRequest>;
  readonly user?: Partial<VerifiedUser>;
  /** A stock client, with these variables. */
  readonly stock?: Record<string, string>;
  readonly sessions?: ExecDeps["sessions"];
  /** What the client does before the agent looks. */
  before?(fake: FakeChannel<VerifiedUser>): void;
  /** Besides native. */
  readonly inside?: readonly FakeBackend[];
  /** agent.toml */
  readonly rules?: string;
}

const FILES: Record<string, FoundPath> = {
  "/var/lib/machines/deb": { path: "/var/lib/machines/deb", kind: "directory" },
};

/** A node where nobody may have a session. */
const NO_SESSIONS: ExecDeps["sessions"] = {
  enter: () => Promise.reject(new OpenboxError("quota", "no room")),
  end: () => Promise.resolve(false),
};

async function serve(asked: Asked): Promise<World> {
  const { line = "true", header = {}, stock, sessions = NO_SESSIONS } = asked;
  const { inside = [], rules = "" } = asked;
  const user = { ...await aUser(asked.cert), ...asked.user };
  const fake = stock
    ? fakeChannel(user, { kind: "exec", command: utf8(line) }, stock)
    : fakeChannel(user, { kind: "subsystem", name: RUN_SUBSYSTEM });
  if (!stock) {
    const json = utf8(
      JSON.stringify({ kind: "run", run_id: "run_1", command: toBase64(utf8(line)), ...header }),
    );
    fake.send(concat([u32(json.length), json]));
  }
  asked.before?.(fake);
  const backend = fakeBackend(PROGRAMS, {
    directories: ["/root", "/root/sub", "/srv", "/home/build"],
  });
  const told: Record<string, unknown>[] = [];
  const clock = new FakeClock(NOW), stopping = new AbortController();
  const deps: ExecDeps = {
    backends: [backend, ...inside],
    rules: parseAgentRules(rules, "/box/agent/agent.toml"),
    lookup: {
      ownLogin: "root",
      isRoot: true,
      kept: [],
      find: (path) => Promise.resolve(FILES[path]),
    },
    sessions,
    spool: {
      start: (run) => Promise.resolve(told.push({ ...run, kind: "start" })),
      end: (start, how) => void told.push({ ...how, start, kind: "end" }),
    },
    logins: {
      own: LOGIN,
      find: (name) => Promise.resolve({ login: name === "build" ? BUILD : LOGIN, path: PATH }),
    },
    nodeId: NODE_ID,
    clock,
    stopping: stopping.signal,
  };
  const served = serveChannel(fake.channel, deps);
  return {
    backend,
    told,
    clock,
    stopping,
    fake,
    served,
    started: () => eventually("a command has started", () => backend.commands.length > 0),
    async outcome() {
      await served;
      assert.equal(fake.requests.length, 1);
      assert.equal(fake.requests[0]!.type, OUTCOME_REQUEST);
      return JSON.parse(fake.requests[0]!.payload);
    },
  };
}

Deno.test("RUN-18: a command starts with the login's environment, then the caller's", async () => {
  const { backend, outcome } = await serve({ header: { env: { LANG: "de_DE.UTF-8", X: "1" } } });
  await outcome();
  assert.deepEqual(backend.commands[0]!.env, {
    HOME: "/root",
    USER: "root",
    LOGNAME: "root",
    SHELL: "/bin/zsh",
    PATH: "/opt/bin:/bin",
    LANG: "de_DE.UTF-8",
    OPENBOX_NODE: NODE_ID,
    X: "1",
  });
});

Deno.test("RUN-19: it starts in the home, or where -C says, from there", async () => {
  for (const [cwd, expected] of [[undefined, "/root"], ["sub", "/root/sub"], ["/srv", "/srv"]]) {
    const { backend, outcome } = await serve({ header: { cwd } });
    await outcome();
    assert.equal(backend.commands[0]!.cwd, expected);
  }
  const missing = await serve({ header: { cwd: "missing" } });
  const { outcome, code, error } = await missing.outcome();
  assert.deepEqual([outcome, code, error.code], ["not_started", 255, "bad_directory"]);
});

Deno.test("RUN-5: our client is told the outcome before the exit, a stock one the exit alone", async () => {
  const rest = { error: null, session: null };
  const ended = await serve({ line: "fail" });
  assert.deepEqual(await ended.outcome(), { ...rest, outcome: "exit", code: 7, signal: null });
  assert.deepEqual(await ended.fake.exit, { kind: "exit", code: 7 });

  const killed = await serve({ line: "wait" });
  await killed.started();
  killed.fake.signal("KILL");
  assert.deepEqual(await killed.outcome(), {
    ...rest,
    outcome: "signal",
    code: 137,
    signal: "KILL",
  });
  assert.deepEqual(await killed.fake.exit, { kind: "signal", signal: "KILL" });

  const stock = await serve({ line: "fail", stock: {} });
  assert.deepEqual(await stock.fake.exit, { kind: "exit", code: 7 });
  assert.deepEqual(stock.fake.requests, []);
});

Deno.test("RUN-3: input reaches the command, what came with the header first", async () => {
  const { fake, outcome } = await serve({ line: "cat" });
  fake.send("a");
  fake.send("b\n");
  fake.end();
  assert.equal((await outcome()).code, 0);
  assert.equal(fake.written("stdout"), "ab\n");
});

Deno.test("SES-16: Ctrl-C ends the wait for a session's turn, and nothing runs", async () => {
  const waiting = Promise.withResolvers<void>();
  const sessions: ExecDeps["sessions"] = {
    ...NO_SESSIONS,
    enter(_key, _start, { signal }) {
      waiting.resolve();
      return new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason))
      );
    },
  };
  const world = await serve({ cert: { session: "build" }, sessions });
  await waiting.promise;
  world.fake.signal("USR1"); // ends nothing
  world.fake.signal("INT");
  await world.served;
  const { outcome, error } = await world.outcome();
  assert.deepEqual([outcome, error.code], ["not_started", "cancelled"]);
  assert.deepEqual(world.backend.commands, []);
});

Deno.test("EXE-5: a signal that comes before the start ends the run, and nothing starts", async () => {
  const cancelled = await serve({ line: "wait", before: (fake) => fake.signal("TERM") });
  await cancelled.served;
  assert.equal((await cancelled.outcome()).error.code, "cancelled");
  assert.deepEqual(cancelled.backend.commands, []);
});

Deno.test("RUN-13: a time-out ends the command by the agent's clock, and keeps what it wrote", async () => {
  const { fake, clock, outcome } = await serve({ line: "say; wait", header: { timeout_ms: 1000 } });
  while (clock.sleeping === 0) await new Promise((resolve) => setTimeout(resolve));
  clock.advance(1000);
  const { outcome: how, code } = await outcome();
  assert.deepEqual([how, code], ["timeout", 124]);
  assert.deepEqual(await fake.exit, { kind: "exit", code: 124 });
  assert.equal(fake.written("stdout"), "so far");
});

Deno.test("a command that is faster than its time-out leaves no timer", async () => {
  const { clock, outcome } = await serve({ header: { timeout_ms: 2 ** 40 } });
  assert.equal((await outcome()).outcome, "exit");
  assert.equal(clock.sleeping, 0);
});

Deno.test("RUN-9: a client that closed its output ends a command that writes on", async () => {
  const { fake, served } = await serve({ line: "yes" });
  await fake.windowFull;
  fake.closeOutput();
  await served;
  assert.deepEqual(await fake.exit, { kind: "signal", signal: "PIPE" });
});

Deno.test("RUN-11: a client that is gone ends its command", async () => {
  const { fake, served, started } = await serve({ line: "wait" });
  await started();
  fake.close();
  await served;
  assert.deepEqual(await fake.exit, { kind: "signal", signal: "TERM" });
});

Deno.test("KIL-7: a run whose container's engine is gone is told as lost, never as its own end", async () => {
  const { outcome } = await serve({ line: "vanish" });
  const { outcome: how, code, error } = await outcome();
  assert.deepEqual([how, code, error!.code], ["lost", 255, "lost"]);
});

Deno.test("RUN-21: without a command the login's shell runs as a login shell", async () => {
  const { backend, outcome } = await serve({ header: { command: undefined } });
  await outcome();
  assert.equal(text(backend.commands[0]!.line), "exec /bin/zsh -l");
  assert.equal(backend.commands[0]!.terminal, undefined);
});

Deno.test("RUN-18, RUN-19: in a container a command starts in what its image says, and nothing of ours", async () => {
  for (const [cwd, expected] of [[undefined, undefined], ["sub", "sub"], ["/srv", "/srv"]]) {
    const docker = fakeBackend(PROGRAMS, { kind: "docker", directories: ["sub", "/srv"] });
    const { outcome } = await serve({
      cert: { isolation: "docker:debian" },
      inside: [docker],
      header: { cwd, env: { X: "1" }, limits: { pids: 5 } },
    });
    assert.equal((await outcome()).outcome, "exit");
    const [command] = docker.commands;
    assert.deepEqual(command!.env, { OPENBOX_NODE: NODE_ID, X: "1" });
    assert.deepEqual([command!.cwd, command!.account], [expected, undefined]);
    assert.deepEqual(command!.confinement, { pids: 5, net: "bridge" });
  }
});

Deno.test("RUN-18: in a tree a command starts as its root", async () => {
  const nspawn = fakeBackend(PROGRAMS, { kind: "nspawn" });
  const pty = { term: "xterm", cols: 80, rows: 24 };
  const cert = { isolation: "nspawn:/var/lib/machines/deb" };
  const { outcome } = await serve({ cert, inside: [nspawn], header: { pty } });
  assert.equal((await outcome()).outcome, "exit");
  const { env, cwd, confinement } = nspawn.commands[0]!;
  assert.deepEqual(env, {
    HOME: "/root",
    USER: "root",
    LOGNAME: "root",
    SHELL: "/bin/sh",
    PATH: STANDARD_PATH,
    LANG: "C.UTF-8",
    OPENBOX_NODE: NODE_ID,
    TERM: "xterm",
  });
  assert.deepEqual([cwd, confinement], [undefined, { net: "host" }]);
});

Deno.test("RUN-21: the shell of a container is bash where it has one, else sh", async () => {
  const cases: [string[], string][] = [
    [["/usr/bin/bash"], "exec /usr/bin/bash -l"],
    [[], "exec /bin/sh"],
  ];
  for (const [present, line] of cases) {
    const docker = fakeBackend(PROGRAMS, { kind: "docker", present });
    const cert = { isolation: "docker:debian" };
    const { outcome } = await serve({ cert, inside: [docker], header: { command: undefined } });
    await outcome();
    assert.equal(text(docker.commands[0]!.line), line);
  }
});

Deno.test("EXE-7, CERT-4: a command runs as the certificate's login, or the one that the owner chose", async () => {
  for (
    const asked of [
      { rules: 'logins = ["build"]', cert: { login: "build" } },
      { rules: 'run_as = "build"' },
      { rules: 'run_as = "build"', stock: {} },
    ]
  ) {
    const { backend, served } = await serve(asked);
    await served;
    const { env, cwd, account } = backend.commands[0]!;
    assert.deepEqual([env.USER, env.LOGNAME, env.HOME], ["build", "build", "/home/build"]);
    assert.deepEqual([cwd, account], ["/home/build", BUILD.account]);
  }
  const { backend, outcome } = await serve({ rules: 'run_as = "build"', cert: { login: "root" } });
  assert.equal((await outcome()).error.code, "login_not_allowed");
  assert.deepEqual(backend.commands, []);
});

Deno.test("what the node's owner does not allow is refused before anything starts", async () => {
  const docker = () => fakeBackend(PROGRAMS, { kind: "docker" });
  const cases: [Asked, string][] = [
    [
      { rules: 'isolations = ["native"]', cert: { isolation: "docker:debian" } },
      "isolation_not_allowed",
    ],
    [{ rules: 'isolations = ["docker"]' }, "isolation_not_allowed"],
    [{ cert: { isolation: "docker:debian" }, header: { net: "host" } }, "limit_not_allowed"],
    [{ cert: { isolation: "docker:debian" }, header: { mounts: ["/etc"] } }, "mount_not_allowed"],
    [{ header: { mounts: ["/etc"] } }, "limit_unsupported"],
    [{ rules: "caps = { pids = 5 }", header: { limits: { pids: 6 } } }, "limit_not_allowed"],
  ];
  for (const [asked, code] of cases) {
    const inside = [docker()];
    const { backend, outcome } = await serve({ inside, ...asked });
    const { outcome: how, error } = await outcome();
    assert.deepEqual([how, error.code], ["not_started", code]);
    assert.deepEqual([backend.commands, inside[0]!.commands], [[], []]);
  }
});

Deno.test("RUN-20: a terminal has its size and kind, and is told of another size", async () => {
  const pty = { term: "xterm", cols: 100, rows: 30 };
  const { backend, fake, outcome } = await serve({ line: "sizes", header: { pty } });
  fake.resize({ cols: 120, rows: 40 });
  fake.send("now\n");
  assert.equal((await outcome()).code, 0);
  const { env, terminal } = backend.commands[0]!;
  assert.equal(env.TERM, "xterm");
  assert.deepEqual([terminal?.cols, terminal?.rows], [100, 30]);
  assert.equal(fake.written("stdout"), "100x30 120x40");
});

Deno.test("CERT-15: a certificate that permits no terminal gets none, and one for one command no shell", async () => {
  const pty = { term: "xterm", cols: 80, rows: 24 };
  for (
    const asked of [
      { header: { pty }, user: { permitPty: false } },
      { header: { command: undefined }, user: { forceCommand: "true" } },
    ]
  ) {
    const { backend, outcome } = await serve(asked);
    assert.equal((await outcome()).error.code, "cert_refused");
    assert.deepEqual(backend.commands, []);
  }
});

Deno.test("an agent that ends, ends what runs, and tells so", async () => {
  const { stopping, outcome, started } = await serve({ line: "wait" });
  await started();
  stopping.abort();
  const { outcome: how, signal } = await outcome();
  assert.deepEqual([how, signal], ["signal", "TERM"]);
});

Deno.test("CERT-4: another isolation than the certificate's is refused, and nothing else runs", async () => {
  const cases: [Asked, string][] = [
    [
      { cert: { isolation: "native" }, stock: { OPENBOX_ISOLATION: "docker:debian" } },
      "session_not_authorized",
    ],
    [
      { cert: { isolation: "docker:debian" }, stock: { OPENBOX_ISOLATION: "native" } },
      "session_not_authorized",
    ],
    [{ cert: { isolation: "docker:debian" } }, "isolation_unavailable"],
    [{ cert: { isolation: "nspawn:/srv/tree" } }, "isolation_unavailable"],
    [{ stock: { OPENBOX_ISOLATION: "docker:debian" } }, "isolation_unavailable"],
    [{ cert: { isolation: "podman:x" } }, "isolation_invalid"],
    [{ stock: { OPENBOX_ISOLATION: " native" } }, "isolation_invalid"],
    [{ stock: { OPENBOX_ISOLATION: "docker:-v/:/host" } }, "isolation_invalid"],
    [{ cert: { session: "work" } }, "quota"],
    [{ cert: { session: "work" }, stock: {} }, "quota"],
    [{ cert: { session: "work", isolation: "docker:debian" } }, "isolation_unavailable"],
    [{ cert: { session: "a/b" } }, "session_not_authorized"],
    [{
      cert: { session: "work" },
      header: { pty: { term: "xterm", cols: 80, rows: 24 } },
    }, "not_supported"],
    [{ cert: { session: "work" }, header: { command: undefined } }, "not_supported"],
    [{ header: { kind: "end_session", command: undefined } }, "session_not_authorized"],
    [{ cert: { login: "alice" } }, "login_not_allowed"],
  ];
  for (const [asked, code] of cases) {
    const { backend, fake, served } = await serve(asked);
    await served;
    assert.deepEqual(backend.commands, [], code);
    assert.deepEqual(await fake.exit, { kind: "exit", code: 255 });
    const told = asked.stock ? fake.written("stderr") : fake.requests[0]!.payload;
    assert.ok(told.includes(code), told);
    if (asked.stock) assert.match(told, /^openbox: [a-z_]+: .+\n/);
  }
});

Deno.test("the isolation that the certificate names runs, asked for again or not", async () => {
  for (
    const asked of [
      { cert: { isolation: "native" } },
      { cert: { isolation: "native" }, stock: { OPENBOX_ISOLATION: "native" } },
      { stock: { OPENBOX_ISOLATION: "native" } },
      { cert: { login: "root" } },
    ]
  ) {
    const { backend, served } = await serve(asked);
    await served;
    assert.equal(backend.commands.length, 1);
  }
});

Deno.test("CERT-15: where the certificate allows one command, only that one runs", async () => {
  const user = { forceCommand: "true" };
  const allowed = await serve({ line: "true", user });
  assert.equal((await allowed.outcome()).outcome, "exit");
  for (const asked of [{ line: "true ", user }, { line: "fail", user, stock: {} }]) {
    const { backend, served } = await serve(asked);
    await served;
    assert.deepEqual(backend.commands, []);
  }
});

Deno.test("what a caller may name cannot move the cursor of a stock client", async () => {
  const stock = { OPENBOX_ISOLATION: "docker:\u001b[2J" };
  const { fake, served } = await serve({ stock });
  await served;
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(fake.written("stderr"), /\u001b/);
});

Deno.test("AUD-2: a run is told once when it starts and once when it ends, without its output", async () => {
  const { told, outcome } = await serve({
    line: "fail --password=hush",
    cert: { session: undefined },
  });
  await outcome();
  assert.equal(told.length, 2);
  const [start, end] = told;
  assert.deepEqual([start!.kind, start!.run_id, start!.program], ["start", "run_1", "fail"]);
  assert.match(String(start!.command_sha256), /^[0-9a-f]{64}$/);
  assert.deepEqual([end!.kind, end!.start, end!.outcome], ["end", 1, "exit"]);
  assert.doesNotMatch(JSON.stringify(told), /hush/);
});

Deno.test("AUD-2: a run that may not start is told as one that did not", async () => {
  const { told, outcome } = await serve({ header: { cwd: "missing" } });
  await outcome();
  const { outcome: how, error, code } = told.at(-1)!;
  assert.deepEqual([how, error, code], ["not_started", "bad_directory", 255]);
});

Deno.test("what the audit is told of a command is the owner's to say", async () => {
  const told = async (policy: string) => {
    const world = await serve({ line: "true", rules: `[audit]\ncommand = "${policy}"` });
    await world.outcome();
    const { program, command_sha256, command } = world.told[0]!;
    return [program, command_sha256 !== null, command];
  };
  assert.deepEqual(await told("program"), ["true", true, null]);
  assert.deepEqual(await told("hash"), [null, true, null]);
  assert.deepEqual(await told("full"), ["true", true, "true"]);
  assert.deepEqual(await told("none"), [null, false, null]);
});

Deno.test("what a caller asks for is told in a form that every control plane takes", async () => {
  const isolation = `docker:\0${"x".repeat(126)}`.slice(0, 120) + "\ud83d\ude00".repeat(20);
  const world = await serve({ stock: { OPENBOX_ISOLATION: isolation } });
  await world.served;
  const [start] = world.told;
  const event = { n: 1, at_ms: 0, ...start };
  assert.ok(v.is(RunEvent, JSON.parse(JSON.stringify(event))), JSON.stringify(event));
  assert.ok(String(start!.isolation).isWellFormed());
  const full = await serve({
    line: `true ${"x".repeat(1018)}${"\ud83d\ude00".repeat(9)}`,
    rules: '[audit]\ncommand = "full"',
  });
  await full.served;
  assert.ok(String(full.told[0]!.command).isWellFormed());
});
