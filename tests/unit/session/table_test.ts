import assert from "node:assert/strict";
import { text, utf8 } from "../../../src/bytes.ts";
import { type NativeBackend, openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { NATIVE } from "../../../src/isolation/spec.ts";
import { chooseDialect } from "../../../src/session/dialect.ts";
import {
  type Limits,
  openSessionTable,
  type SessionKey,
  type SessionRecord,
  type SessionRecords,
  type SessionStart,
  type SessionTable,
  type Turn,
} from "../../../src/session/table.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { usedMemory } from "../../fixtures/memory.ts";
import { eventually, isAlive, pidsIn } from "../../fixtures/processes.ts";
import { finish, PATH, type Ran } from "./world.ts";

const MINUTE = 60_000;
const BUILD: SessionKey = { userId: "usr_1", name: "build" };

interface Called extends Ran {
  readonly created: boolean;
  readonly ended: boolean;
}

interface World extends AsyncDisposable {
  readonly backend: NativeBackend;
  readonly clock: FakeClock;
  readonly table: SessionTable;
  /** As on disk, over the life of more than one agent. */
  readonly kept: Map<string, SessionRecord>;
  enter(key?: SessionKey, signal?: AbortSignal, asked?: SessionStart["asked"]): Promise<Turn>;
  /** As an agent serves a run: the caller is told how it ended. */
  call(line: string, key?: SessionKey, more?: CallMore): Promise<Called>;
  /** Another agent on the same disk. */
  restart(): Promise<void>;
}

interface CallMore {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
}

async function openWorld(limits: Partial<Limits> = {}): Promise<World> {
  const backend = await openNativeBackend(), clock = new FakeClock();
  const kept = new Map<string, SessionRecord>();
  const id = ({ userId, name }: SessionKey) => `${userId}/${name}`;
  const records: SessionRecords = {
    read: () => Promise.resolve([...kept.values()]),
    write: (record) => Promise.resolve(void kept.set(id(record), record)),
    remove: (key) => Promise.resolve(void kept.delete(id(key))),
  };
  const open = () => openSessionTable({ records, clock, limits });
  let table = await open();
  const dialect = () => chooseDialect("/bin/sh", PATH);
  const start = { backend, spec: NATIVE, env: { PATH, HOME: "/" }, cwd: "/", dialect };
  const never = new AbortController().signal;
  const enter: World["enter"] = (key = BUILD, signal = never, asked) =>
    table.enter(key, { ...start, asked }, { signal });
  return {
    backend,
    clock,
    kept,
    enter,
    get table() {
      return table;
    },
    async call(line, key, { env = {}, cwd, signal } = {}) {
      await using turn = await enter(key, signal);
      const ran = await finish(await turn.run({ line: utf8(line), env, cwd }));
      if (ran.exit.kind === "signal" || line.startsWith("exit")) {
        await eventually("the shell has ended", () => turn.ended);
      }
      const { created, ended } = turn;
      if (ended) turn.told();
      return { ...ran, created, ended };
    },
    async restart() {
      await table[Symbol.asyncDispose]();
      table = await open();
    },
    async [Symbol.asyncDispose]() {
      await table[Symbol.asyncDispose]();
      await backend[Symbol.asyncDispose]();
    },
  };
}

Deno.test("SEQ-3: twenty commands at once run one after another, in order of arrival", async () => {
  await using world = await openWorld();
  await world.call("list=");
  const all = Array.from({ length: 20 }, (_, i) => world.call(`list="$list ${i}"; echo $list`));
  const done = await Promise.all(all);
  for (const [i, { out }] of done.entries()) {
    assert.equal(out, Array.from({ length: i + 1 }, (_, n) => n).join(" ") + "\n");
  }
});

Deno.test("SEQ-6, SES-2: after an end that was told the next call starts anew", async () => {
  await using world = await openWorld();
  assert.equal((await world.call("kept=1")).created, true);
  const ended = await world.call("exit 3");
  assert.deepEqual([ended.code, ended.created, ended.ended], [3, false, true]);
  await eventually("nothing is kept of it", () => world.kept.size === 0);
  const next = await world.call("echo $kept");
  assert.deepEqual([next.out, next.created], ["\n", true]);
  assert.deepEqual((await world.call("ulimit -f 0; echo still")).out, "still\n");
});

Deno.test("SES-2: who waits behind the end of a session gets one that is new, and is told", async () => {
  await using world = await openWorld();
  await world.call("kept=1");
  const [first, second] = await Promise.all([world.call("exit 7"), world.call("echo $kept")]);
  assert.deepEqual([first.code, second.out, second.created], [7, "\n", true]);
});

Deno.test("SEQ-14: an end that nobody was told of is told with the next call, once", async () => {
  await using world = await openWorld();
  {
    await using turn = await world.enter();
    await finish(await turn.run({ line: utf8("exit 3"), env: {}, cwd: undefined }));
    await eventually("the shell has ended", () => turn.ended); // and the caller is gone
  }
  await assert.rejects(world.call("true"), { code: "lost", message: /build is lost: .*code 3/ });
  assert.equal((await world.call("true")).created, true);

  const { out } = await world.call("(sleep 0.05; kill -9 $$) >/dev/null 2>&1 & echo soon");
  assert.equal(out, "soon\n");
  await eventually("it is lost", () => world.table.list()[0]?.state === "lost");
  await assert.rejects(world.call("true"), { code: "lost", message: /SIGKILL/ });
  assert.equal((await world.call("true")).created, true);
});

Deno.test("SES-10, SEQ-14: the next agent finds the sessions of the one before lost", async () => {
  await using world = await openWorld();
  const names = Array.from({ length: 5 }, (_, i) => ({ userId: "usr_1", name: `s${i}` }));
  const file = await Deno.makeTempFile();
  try {
    await Promise.all(names.map((key) => world.call(`sleep 300 & echo $! >>${file}`, key)));
    const pids = await pidsIn(file, 5);
    await world.restart();
    for (const pid of pids) assert.equal(isAlive(pid), false);
    assert.deepEqual(world.table.list().map(({ state }) => state), Array(5).fill("lost"));
    for (const key of names) {
      await assert.rejects(world.call("true", key), { code: "lost", message: /started anew/ });
    }
    await world.restart();
    assert.deepEqual(world.table.list(), [], "told once, over another agent as well");
    assert.equal((await world.call("true", names[0])).created, true);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("of lost sessions that nobody asks for, the oldest are forgotten", async () => {
  await using world = await openWorld({ lostPerNode: 2 });
  for (const name of ["a", "b", "c"]) {
    await world.call("true", { userId: "usr_1", name });
    world.clock.advance(1);
  }
  await world.restart();
  assert.deepEqual(world.table.list().map(({ name }) => name), ["b", "c"]);
  await eventually("its file is gone", () => world.kept.size === 2);
});

Deno.test("SES-10: 50 sessions at once take at most 2 MiB each in the agent", async () => {
  await using world = await openWorld({ sessionsPerUser: 50 });
  const names = Array.from({ length: 50 }, (_, i) => ({ userId: "usr_1", name: `s${i}` }));
  await world.call("true", { userId: "usr_2", name: "warm" });
  const before = await usedMemory();
  await Promise.all(names.map((key) => world.call("kept=$OPENBOX_SESSION", key)));
  const each = (await usedMemory() - before) / names.length;
  assert.ok(each < 2 * 1024 * 1024, `${each} bytes a session`);
  const said = await Promise.all(names.map((key) => world.call("echo $kept", key)));
  assert.deepEqual(said.map(({ out }) => out), names.map(({ name }) => `${name}\n`));
  await world.restart();
  assert.equal(world.table.list().filter(({ state }) => state === "lost").length, 51);
});

Deno.test("SEQ-11, SES-9: idle for 30 minutes it is reaped; busy for 31 it is not", async () => {
  await using world = await openWorld();
  const { clock, table } = world;
  await world.call("kept=1");
  const minutes = async (count: number) => {
    for (let i = 0; i < 2 * count; i++) {
      await eventually("the reaper waits", () => clock.sleeping > 0);
      clock.advance(MINUTE / 2);
    }
  };
  {
    await using turn = await world.enter();
    const process = await turn.run({ line: utf8("cat; echo $kept"), env: {}, cwd: undefined });
    await minutes(31);
    assert.equal(table.list()[0]?.state, "busy");
    assert.equal((await finish(process)).out, "1\n");
  }
  await minutes(29);
  assert.deepEqual(table.list().map(({ state, idleMs }) => [state, idleMs]), [
    ["idle", 29 * MINUTE],
  ]);
  await minutes(1);
  await eventually("it is reaped", () => table.list()[0]?.state === "lost");
  await assert.rejects(world.call("true"), { code: "lost", message: /idle for 30 minutes/ });
  assert.equal((await world.call("echo $kept")).out, "\n");
});

Deno.test("SEQ-16, SES-13: two users have two sessions of one name, and see their own", async () => {
  await using world = await openWorld();
  const other = { userId: "usr_2", name: "build" };
  await world.call("mine=a");
  await world.call("mine=b", other);
  assert.equal((await world.call("echo $mine")).out, "a\n");
  assert.equal((await world.call("echo $mine", other)).out, "b\n");
  for (const key of [{ userId: "usr_1", name: "Build" }, { userId: "usr_1b", name: "uild" }]) {
    assert.equal((await world.call("echo $mine", key)).created, true);
  }
});

Deno.test("SES-14: the caps hold, also for those that start at once", async () => {
  await using world = await openWorld({ sessionsPerUser: 2, sessionsPerNode: 3 });
  const tried = await Promise.allSettled(
    ["a", "b", "c", "d"].map((name) => world.call("true", { userId: "usr_1", name })),
  );
  const refused = tried.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
  assert.deepEqual(refused.map(({ reason }) => reason.code), ["quota", "quota"]);
  await world.call("true", { userId: "usr_2", name: "a" });
  await assert.rejects(world.call("true", { userId: "usr_2", name: "b" }), { code: "quota" });
  await world.table.end({ userId: "usr_1", name: "a" });
  assert.equal((await world.call("true", { userId: "usr_2", name: "b" })).created, true);
});

Deno.test("SES-14: sessions that come and go leave no process and no descriptor", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  // in a process of its own: the tests beside this one open and close what they like
  const cycles = new URL("./cycle_sessions.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", cycles, "20"],
    stdin: "null",
  }).output();
  assert.ok(success, text(stderr));
  const { before, after, left } = JSON.parse(text(stdout));
  assert.ok(after <= before + 2, `${before} → ${after} descriptors`);
  assert.deepEqual(left, []);
});

Deno.test("SES-17, SEQ-12: an end takes what runs, and those who wait are refused", async () => {
  await using world = await openWorld();
  const file = await Deno.makeTempFile();
  try {
    const running = world.call(`setsid sleep 300 & echo $! >>${file}; cat; sleep 300`);
    const [pid] = await pidsIn(file, 1);
    const waiting = world.call("true");
    const refused = assert.rejects(waiting, { code: "conflict", message: /was ended/ });
    assert.equal(await world.table.end(BUILD), true);
    const { exit, ended } = await running;
    assert.deepEqual([exit.kind, ended], ["signal", true]);
    await refused;
    assert.equal(isAlive(pid!), false);
    assert.equal((await world.call("true")).created, true);
    assert.equal(await world.table.end(BUILD), true);
    assert.equal(await world.table.end(BUILD), false);
    assert.equal(world.kept.size, 0);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("SES-10: the session after two ends at once has its file", async () => {
  await using world = await openWorld();
  await world.call("true");
  const ends = [world.table.end(BUILD), world.table.end(BUILD)];
  assert.deepEqual((await world.call("echo there")).created, true);
  assert.deepEqual(await Promise.all(ends), [true, true]);
  assert.deepEqual([...world.kept.keys()], ["usr_1/build"]);
  assert.deepEqual(world.table.list().map(({ state }) => state), ["idle"]);
});

Deno.test("SEQ-10: who gives up waiting never runs, and holds nobody up", async () => {
  await using world = await openWorld();
  const gone = new AbortController();
  {
    await using turn = await world.enter();
    const process = await turn.run({ line: utf8("cat; order=first"), env: {}, cwd: undefined });
    const given = world.call("order=never", BUILD, { signal: gone.signal });
    const last = world.call("echo $order");
    gone.abort(new Error("gone"));
    await assert.rejects(given, /gone/);
    await finish(process);
    await turn[Symbol.asyncDispose]();
    assert.equal((await last).out, "first\n");
  }
});

Deno.test("RUN-18, RUN-19: -e and -C are typed before the command, and stay; where they fail it does not run", async () => {
  await using world = await openWorld();
  const first = await world.call('pwd; echo "$X"; sh -c \'echo "$X"\'', BUILD, {
    env: { X: "a  'b'" },
    cwd: "/usr",
  });
  assert.equal(first.out, "/usr\na  'b'\na  'b'\n");
  assert.equal(
    (await world.call('pwd; echo "$X"', BUILD, { cwd: "bin" })).out,
    "/usr/bin\na  'b'\n",
  );
  assert.equal((await world.call("pwd", BUILD, { cwd: "-" })).out, "/usr\n");
  await assert.rejects(world.call("echo ran >&2", BUILD, { cwd: "/no such" }), {
    code: "bad_directory",
    message: /\/no such/,
  });
  await world.call("readonly FIXED=1");
  await assert.rejects(world.call("true", BUILD, { env: { FIXED: "2" } }), {
    code: "bad_environment",
  });
  assert.equal((await world.call("pwd; echo $FIXED")).out, "/usr\n1\n");
});

Deno.test("SEQ-12: the list tells what is idle, what is busy and how the last command ended", async () => {
  await using world = await openWorld();
  assert.deepEqual(world.table.list(), []);
  let changes = 0;
  using _watching = world.table.onChange(() => changes++);
  await world.call("(exit 5)");
  assert.ok(changes > 0);
  world.clock.advance(1_000);
  const known = { ...BUILD, isolation: "native" };
  assert.deepEqual(world.table.list(), [{ ...known, idleMs: 1_000, lastExit: 5, state: "idle" }]);
  await using turn = await world.enter();
  assert.equal(turn.created, false);
  assert.deepEqual(world.table.list(), [{ ...known, idleMs: 0, lastExit: 5, state: "busy" }]);
});

Deno.test("SES-7: a session that was started with other limits, or as another login, is refused", async () => {
  await using world = await openWorld();
  const ask = async (...asked: [string, string][]) => {
    await using turn = await world.enter(BUILD, undefined, new Map(asked));
    return turn.created;
  };
  assert.equal(await ask(["--memory", "1g"], ["--user", "build"]), true);
  assert.equal(await ask(), false);
  assert.equal(await ask(["--memory", "1g"]), false);
  const cases: [[string, string], RegExp][] = [
    [["--memory", "2g"], /was started with --memory 1g, not 2g/],
    [["--user", "deploy"], /was started with --user build, not deploy/],
    [["--pids", "5"], /was started without --pids/],
  ];
  for (const [asked, message] of cases) {
    await assert.rejects(ask(asked), {
      code: "session_isolation_mismatch",
      message,
      hint: new RegExp(`leave ${asked[0]} out, or openbox session end build first`),
    });
  }
  assert.equal((await world.call("true")).created, false);
});
