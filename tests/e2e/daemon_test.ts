/** The daemon as a process: what goes through it, and what becomes of commands when it, or a caller, goes. */
import assert from "node:assert/strict";
import { utf8 } from "../../src/bytes.ts";
import { FrameReader, FrameWriter, KIND } from "../../src/ipc/frames.ts";
import { generationOf } from "../../src/ipc/generation.ts";
import { PROTOCOL } from "../../src/ipc/messages.ts";
import { VERSION } from "../../src/version.ts";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";

const status = async (fleet: Fleet) =>
  JSON.parse((await fleet.call(["daemon", "status", "--json"])).out);

/** Without the daemon, whatever the fleet does. */
const INLINE = { env: { OPENBOX_NO_DAEMON: "1" } };

/** The last line of `--json`. */
async function endOf(child: Deno.ChildProcess): Promise<Record<string, unknown>> {
  const { code, stdout } = await child.output();
  const end = JSON.parse(new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1)!);
  assert.equal(end.code, code);
  return end;
}

Deno.test("commands through a daemon", async (t) => {
  await using fleet = await startFleet({ daemon: true });
  assert.equal((await fleet.call(["-t", "box", "true"])).code, 0); // makes the key

  await step(t, "output, input, exit code and errors are what they are without it", async () => {
    const cases: [string[], string | undefined][] = [
      [["-t", "box", "echo out; echo err >&2; exit 7"], undefined],
      [["-t", "box", "cat; wc -c"], "some\0input\n"],
      [["-t", "box", "kill -9 $$"], undefined],
      [["-t", "box", "--timeout", "1s", "sleep 60"], undefined],
      [["-t", "nowhere", "true"], undefined],
      [["-t", "box", "-C", "/nowhere", "true"], undefined],
      [["-t", "box", "--memory", "x", "true"], undefined],
      [["-t", "box", "--docker", "absent.example/none:1", "true"], undefined],
    ];
    for (const [args, stdin] of cases) {
      const options = stdin === undefined ? {} : { stdin };
      const there = await fleet.call(args, options);
      const here = await fleet.call(args, { ...options, ...INLINE });
      assert.deepEqual(
        [there.code, there.out, there.err],
        [here.code, here.out, here.err],
        `${args}`,
      );
    }
    assert((await status(fleet)).connections.length > 0, "they went through it");
  });

  await step(t, "a command within a certificate's life needs no control plane", async () => {
    assert.equal((await fleet.call(["-t", "box", "true"])).code, 0);
    fleet.control.kill("SIGSTOP");
    try {
      assert.equal((await fleet.call(["-t", "box", "echo on"])).out, "on\n");
    } finally {
      fleet.control.kill("SIGCONT");
    }
  });

  await step(t, "200 CLIs at once, with input and both outputs, don't cross", async () => {
    const calls = Array.from({ length: 200 }, async (_, i) => {
      const { code, out, err } = await fleet.call(
        ["-t", "box", `cat; echo ${i} >&2; exit ${i % 7}`],
        { stdin: `${i}:`.repeat(2000) },
      );
      assert.deepEqual([code, err, out === `${i}:`.repeat(2000)], [i % 7, `${i}\n`, true]);
    });
    await Promise.all(calls);
  });

  await step(t, "DMN-11: a CLI that is killed ends its command within 5 s", async () => {
    const pids = `${fleet.scratch}/killed`;
    const child = fleet.spawn(["-t", "box", `echo $$ > ${pids}; sleep 300`], { stdin: "null" });
    const [pid] = await pidsIn(pids, 1);
    child.kill("SIGKILL");
    await eventually("the command is gone", () => !isAlive(pid!), 5000);
    await child.output();
    await eventually("and counted no more", async () => (await status(fleet)).runs === 0);
  });

  await step(t, "DMN-12: whatever a client sends, the daemon goes on", async () => {
    const path = `${fleet.home}/openboxd.sock`;
    const frame = (kind: number, payload: Uint8Array) => {
      const bytes = new Uint8Array(5 + payload.length);
      new DataView(bytes.buffer).setUint32(0, payload.length);
      bytes[4] = kind;
      bytes.set(payload, 5);
      return bytes;
    };
    const call = utf8(JSON.stringify({ run_id: "r", target: {}, command: {} }));
    const hostile = [
      new Uint8Array(),
      new Uint8Array(5),
      utf8("GET / HTTP/1.1\r\n\r\n"),
      new Uint8Array(100_000).fill(255),
      frame(KIND.CALL, utf8("{")),
      frame(KIND.CALL, utf8('{"run_id":"r"}')),
      frame(KIND.CALL, utf8('{"run_id":"r","target":{"sudo":true},"command":{}}')),
      frame(KIND.ASK, utf8('{"ask":"everything"}')),
      frame(KIND.INPUT, utf8("x")),
      frame(200, utf8("x")),
      new Uint8Array([...frame(KIND.CALL, call), ...frame(KIND.INPUT, utf8("early"))]),
      new Uint8Array([...frame(KIND.CALL, call), ...frame(KIND.HELLO, utf8("{}"))]),
      ...Array.from({ length: 50 }, () => crypto.getRandomValues(new Uint8Array(300))),
    ];
    for (const bytes of hostile) {
      using socket = await Deno.connect({ transport: "unix", path });
      try {
        for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
        await socket.closeWrite();
      } catch {
        // it has heard enough
      }
      for (const buffer = new Uint8Array(4096); await readSome(socket, buffer) !== null;);
    }
    assert.equal((await fleet.call(["-t", "box", "echo on"])).out, "on\n");
  });

  await step(t, "DMN-8: another login, a logout, and a new token are noticed at once", async () => {
    const whoami = async () => (await fleet.call(["-t", "box", "true"])).code;
    assert.equal(await whoami(), 0);
    const made = await fleet.call(["token", "create", "--json", "--name", "second"]);
    assert.equal(made.code, 0, made.err);
    const second = JSON.parse(made.out);
    const before = await Deno.readTextFile(`${fleet.home}/config.json`);
    const login = (token: string) =>
      fleet.call(
        ["login", "--server", fleet.url, "--ca-fingerprint", fleet.caFingerprint],
        { stdin: token },
      );
    assert.equal((await login(second.token)).code, 0);
    assert.equal(await whoami(), 0);
    assert.equal((await fleet.call(["revoke", "token", second.id], INLINE)).code, 0);
    assert.equal((await fleet.call(["logout"])).code, 0);
    const out = await fleet.call(["-t", "box", "true"]);
    assert.equal(out.code, 255);
    assert.match(out.err, /not_logged_in/);
    await Deno.writeTextFile(`${fleet.home}/config.json.new`, before, { mode: 0o600 });
    await Deno.rename(`${fleet.home}/config.json.new`, `${fleet.home}/config.json`);
    assert.equal(await whoami(), 0);
  });

  await step(
    t,
    "DMN-8: the environment's login, and another home, do not go through it",
    async () => {
      const runs = async () => (await status(fleet)).connections.length;
      const before = await runs();
      const wrong = { OPENBOX_SERVER: fleet.url, OPENBOX_TOKEN: `obx_${"x".repeat(40)}` };
      assert.match((await fleet.call(["-t", "box", "true"], { env: wrong })).err, /unauthorized/);
      const other = await Deno.makeTempDir();
      const elsewhere = {
        OPENBOX_HOME: other,
        OPENBOX_DAEMON_SOCKET: `${fleet.home}/openboxd.sock`,
      };
      assert.match(
        (await fleet.call(["-t", "box", "true"], { env: elsewhere })).err,
        /not_logged_in/,
      );
      await Deno.remove(other, { recursive: true });
      assert.equal(await runs(), before);
    },
  );

  await step(t, 'daemon = "never" is obeyed, and taken back', async () => {
    const settings = `${fleet.home}/settings.toml`;
    await Deno.writeTextFile(settings, 'daemon = "never"\n');
    const pids = `${fleet.scratch}/never`;
    const child = fleet.spawn(["-t", "box", `echo $$ > ${pids}; sleep 60`], { stdin: "null" });
    await pidsIn(pids, 1);
    assert.equal((await status(fleet)).runs, 0);
    child.kill("SIGTERM");
    await child.output();
    await Deno.remove(settings);
    assert.equal((await fleet.call(["-t", "box", "true"])).code, 0);
    assert.equal((await status(fleet)).connections.length, 1);
  });

  await step(t, "DMN-3: a second daemon is told, with 5", async () => {
    const { code, err } = await fleet.call(["daemon"]);
    assert.equal(code, 5);
    assert.match(err, /^openbox: conflict: Another daemon serves /);
  });

  await step(
    t,
    "KIL-2, DMN-7: a daemon killed while a command runs: lost, and not run again",
    async () => {
      const ran = `${fleet.scratch}/ran`;
      const child = fleet.spawn(["-t", "box", "--json", `echo $$ >> ${ran}; sleep 300`], {
        stdin: "null",
      });
      const [pid] = await pidsIn(ran, 1);
      fleet.daemon!.kill("SIGKILL");
      const end = await endOf(child);
      assert.deepEqual([end.code, end.outcome], [255, "lost"]);
      assert.equal((await pidsIn(ran, 1)).length, 1);
      await eventually("the node ended the command", () => !isAlive(pid!), 5000);
      // DMN-4: what it left is no hindrance, neither to a command nor to the next daemon
      const inCi = { env: { CI: "1" } }; // it starts no daemon of its own
      assert.equal((await fleet.call(["-t", "box", "echo inline"], inCi)).out, "inline\n");
      await using _next = await fleet.startDaemon();
      assert.equal((await fleet.call(["-t", "box", "echo again"])).out, "again\n");
      assert.equal((await status(fleet)).connections.length, 1);
    },
  );
});

async function readSome(socket: Deno.UnixConn, buffer: Uint8Array): Promise<number | null> {
  try {
    return await socket.read(buffer);
  } catch {
    return null;
  }
}

Deno.test("DMN-9: a daemon that is told to end while 20 commands run ends within 10 s, and all hear how it went", async () => {
  await using fleet = await startFleet({ daemon: true });
  assert.equal((await fleet.call(["-t", "box", "true"])).code, 0);
  const pids = `${fleet.scratch}/pids`, go = `${fleet.scratch}/go`;
  const line = (i: number) =>
    i < 10
      ? `echo $$ >> ${pids}; until [ -e ${go} ]; do sleep 0.1; done; exit ${i}`
      : `echo $$ >> ${pids}; sleep 300`;
  const children = Array.from(
    { length: 20 },
    (_, i) => fleet.spawn(["-t", "box", "--json", line(i)], { stdin: "null" }),
  );
  const running = await pidsIn(pids, 20);
  const from = Date.now();
  fleet.daemon!.kill("SIGTERM");
  // it takes no more: this one goes another way
  await eventually("it is closed", async () => !(await status(fleet)).running);
  assert.equal((await fleet.call(["-t", "box", "echo on"])).out, "on\n");
  await Deno.writeTextFile(go, "");
  const ends = await Promise.all(children.map(endOf));
  assert(Date.now() - from < 10_000, `${Date.now() - from} ms`);
  assert.deepEqual(
    ends.map(({ outcome, code }) => [outcome, code]),
    ends.map((_, i) => i < 10 ? ["exit", i] : ["lost", 255]),
  );
  assert.equal((await fleet.daemon!.ended).code, 0);
  for (const pid of running) await eventually("ended", () => !isAlive(pid), 5000);
});

/** A daemon that says what the test says. */
function fakeDaemon(
  fleet: Fleet,
  serve: (reader: FrameReader, writer: FrameWriter) => Promise<void>,
) {
  const path = `${fleet.home}/openboxd.sock`;
  const listener = Deno.listen({ transport: "unix", path });
  Deno.chmodSync(path, 0o600);
  const serving: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) {
      serving.push((async () => {
        using socket = conn;
        const writer = new FrameWriter(socket);
        await serve(new FrameReader(socket), writer).catch(() => {});
        await writer.flush();
      })());
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      listener.close(); // removes its socket
      await accepting.catch(() => {});
      await Promise.all(serving);
    },
  };
}

Deno.test("a socket behind which no daemon of ours answers", async (t) => {
  await using fleet = await startFleet();
  assert.equal((await fleet.call(["-t", "box", "true"])).code, 0);
  const hello = (changes: Record<string, unknown> = {}) => ({
    protocol: PROTOCOL,
    version: VERSION,
    generation: generationOf(fleet.home),
    closing: false,
    ...changes,
  });
  const through = { env: { OPENBOX_NO_DAEMON: "0" } };
  const ran = () => fleet.call(["-t", "box", "echo inline"], through);

  await step(t, "that says nothing costs 300 ms, and the command goes another way", async () => {
    const asked: number[] = [];
    await using _ = fakeDaemon(fleet, async (reader) => {
      for (let frame; (frame = await reader.next());) asked.push(frame.kind);
    });
    assert.equal((await ran()).out, "inline\n");
    assert.deepEqual(asked, [], "it was told nothing");
  });

  for (
    const [what, changes] of [
      ["of another version", { version: "99.0.0" }],
      ["of another protocol", { protocol: 99 }],
      ["with another login", { generation: "- -" }],
      ["that is closing", { closing: true }],
    ] as const
  ) {
    await step(t, `${what} is told nothing`, async () => {
      const asked: number[] = [];
      await using _ = fakeDaemon(fleet, async (reader, writer) => {
        writer.sendJson(KIND.HELLO, hello(changes));
        for (let frame; (frame = await reader.next());) asked.push(frame.kind);
      });
      assert.equal((await ran()).out, "inline\n");
      assert.deepEqual(asked, []);
    });
  }

  await step(
    t,
    "DMN-7: that ends before it took the call: the command goes another way, once",
    async () => {
      let calls = 0;
      await using _ = fakeDaemon(fleet, async (reader, writer) => {
        writer.sendJson(KIND.HELLO, hello());
        if ((await reader.next())?.kind === KIND.CALL) calls++;
      });
      assert.equal((await ran()).out, "inline\n");
      assert.equal(calls, 1);
    },
  );

  await step(t, "DMN-7: that ends after it took the call: lost, and not tried again", async () => {
    await using _ = fakeDaemon(fleet, async (reader, writer) => {
      writer.sendJson(KIND.HELLO, hello());
      await reader.next();
      writer.send(KIND.ACCEPTED);
    });
    const { code, out, err } = await ran();
    assert.deepEqual([code, out], [255, ""]);
    assert.match(err, /^openbox: lost: openbox's daemon ended while it had the command\n/);
  });

  await step(t, "DMN-12: that sends what is no frame: lost, never more", async () => {
    for (
      const bytes of [utf8("\xff".repeat(64)), new Uint8Array([0, 32, 0, 1, 35]), new Uint8Array(9)]
    ) {
      await using _ = fakeDaemon(fleet, async (reader, writer) => {
        writer.sendJson(KIND.HELLO, hello());
        await reader.next();
        writer.send(KIND.ACCEPTED);
        writer.sendJson(KIND.STARTED, {
          node_id: "n",
          node_name: "n",
          session_bound: false,
          warnings: [],
        });
        writer.send(200 as 1, bytes);
      });
      const { code, err } = await ran();
      assert.equal(code, 255);
      assert.match(err, /^openbox: lost: /);
    }
  });

  await step(t, "DMN-5: of another user: refused, and nothing is said to it", async () => {
    const path = `${fleet.home}/openboxd.sock`;
    {
      using _listener = Deno.listen({ transport: "unix", path });
      await Deno.chmod(path, 0o666);
      const { code, err } = await ran();
      assert.equal(code, 255);
      assert.match(err, /^openbox: untrusted_socket: .* is open to other users/);
      assert.match(err, /hint: chmod go-rwx /);
    }
  });
});
