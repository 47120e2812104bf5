/** Our client and our server with each other: what a channel promises. */
import assert from "node:assert/strict";
import { text } from "../../../src/bytes.ts";
import { createHash } from "node:crypto";
import type { ByteSource, ClientChannel, ServerChannel } from "../../../src/ssh/channel.ts";
import { ConnectionLostError } from "../../../src/ssh/client.ts";
import { ChannelRefusedError } from "../../../src/ssh/connection.ts";
import { usedMemory } from "../../fixtures/memory.ts";
import { connectTo, createIdentities, readAll, serveSsh } from "../../fixtures/ssh.ts";
import { eventually } from "../../fixtures/processes.ts";

const ids = createIdentities();
const MIB = 2 ** 20;

type Handler = (channel: ServerChannel<string>) => Promise<void>;

const end = (channel: ServerChannel<string>, code = 0) => channel.end({ kind: "exit", code });

const echo: Handler = async (channel) => {
  for (let chunk = await channel.input.read(); chunk; chunk = await channel.input.read()) {
    await channel.write("stdout", chunk);
  }
  await end(channel);
};

async function digest(source: ByteSource): Promise<{ hash: string; bytes: number }> {
  const hash = createHash("sha256");
  let bytes = 0;
  for (let chunk = await source.read(); chunk; chunk = await source.read()) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { hash: hash.digest("hex"), bytes };
}

Deno.test("SSH-7: 64 MiB there and back are the same, both ends changing keys every megabyte", async () => {
  await using server = await serveSsh(ids, echo, { limits: { rekeyBytes: MIB } });
  await using connection = await connectTo(server.port, ids, { limits: { rekeyBytes: MIB } });
  await using channel = await connection.openExec("echo");
  const received = digest(channel.stdout), silent = readAll(channel.stderr);
  const sent = createHash("sha256");
  for (let i = 0; i < 1024; i++) {
    const chunk = crypto.getRandomValues(new Uint8Array(65_536));
    sent.update(chunk);
    assert.ok(await channel.write(chunk));
  }
  channel.endInput();
  assert.deepEqual(await received, { hash: sent.digest("hex"), bytes: 64 * MIB });
  assert.equal((await silent).length, 0);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
});

Deno.test("SSH-7: keys are changed by time on a connection that does nothing", async () => {
  await using server = await serveSsh(ids, echo, { limits: { rekeyMs: 20 } });
  await using connection = await connectTo(server.port, ids);
  for (let i = 0; i < 10; i++) {
    await using channel = await connection.openExec("echo");
    await channel.write(new Uint8Array([i]));
    channel.endInput();
    assert.deepEqual(await readAll(channel.stdout), new Uint8Array([i]));
    await readAll(channel.stderr);
    await channel.exit;
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
});

Deno.test("both outputs may fill the window at once; every byte arrives on its stream", async () => {
  const chunk = (letter: string) => new Uint8Array(100_000).fill(letter.charCodeAt(0));
  await using server = await serveSsh(ids, async (channel) => {
    const write = async (stream: "stdout" | "stderr", letter: string) => {
      for (let i = 0; i < 60; i++) await channel.write(stream, chunk(letter));
    };
    await Promise.all([write("stdout", "o"), write("stderr", "e")]);
    await end(channel, 7);
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("both");
  const [out, err] = await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual([out.length, err.length], [6_000_000, 6_000_000]);
  assert.ok(out.every((byte) => byte === 111) && err.every((byte) => byte === 101));
  assert.deepEqual(await channel.exit, { kind: "exit", code: 7 });
});

Deno.test("a handler that fails ends its own channel, without an exit, and no other", async () => {
  const logged: unknown[] = [];
  await using server = await serveSsh(ids, (channel) => {
    const { request } = channel;
    if (request.kind === "exec" && text(request.command) === "echo") return echo(channel);
    return Promise.reject(new Error("no more room"));
  }, { log: (event, { reason }) => logged.push([event, reason]) });
  await using connection = await connectTo(server.port, ids);
  await using other = await connection.openExec("echo");
  await using failing = await connection.openExec("fail");
  await Promise.all([readAll(failing.stdout), readAll(failing.stderr)]);
  assert.equal(await failing.exit, undefined);
  assert.deepEqual(logged, [["channel failed", "no more room"]]);
  await other.write(new Uint8Array([7]));
  other.endInput();
  assert.deepEqual(await readAll(other.stdout), new Uint8Array([7]));
  await readAll(other.stderr);
  assert.deepEqual(await other.exit, { kind: "exit", code: 0 });
});

Deno.test("one stream is read to its end before the other", async () => {
  for (const order of [["stdout", "stderr"], ["stderr", "stdout"]] as const) {
    await using server = await serveSsh(ids, async (channel) => {
      await channel.write(order[0], new Uint8Array(100_000));
      await channel.write(order[1], new Uint8Array(100_000));
      await end(channel);
    });
    await using connection = await connectTo(server.port, ids);
    await using channel = await connection.openExec("x");
    for (const stream of order) assert.equal((await readAll(channel[stream])).length, 100_000);
    await channel.exit;
  }
});

Deno.test("RUN-14: a writer waits for a reader that is slow, and nothing piles up on either end", async () => {
  let written = 0;
  await using server = await serveSsh(ids, async (channel) => {
    const chunk = new Uint8Array(65_536);
    while (await channel.write("stdout", chunk)) written += chunk.length;
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("endless");
  const before = await usedMemory();
  let read = 0;
  for (let i = 0; i < 50; i++) {
    read += (await channel.stdout.read())!.length;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.ok(written - read < 12 * MIB, `${written - read} bytes ahead`);
  const grown = await usedMemory() - before;
  assert.ok(grown < 16 * MIB, `grew by ${grown}`);
});

Deno.test("a writer waits for a command that does not read", async () => {
  const release = Promise.withResolvers<void>();
  await using server = await serveSsh(ids, async (channel) => {
    await release.promise;
    await end(channel);
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("deaf");
  let sent = 0, taken = true;
  const writing = (async () => {
    while (taken) {
      taken = await channel.write(new Uint8Array(65_536));
      sent += 65_536;
    }
  })();
  await eventually("the window is full", () => sent >= 256 * 1024);
  release.resolve(); // it ends: what was not taken is dropped, and the writer is told
  await writing;
  assert.ok(
    sent <= 256 * 1024 + 65_536,
    `${sent} bytes were taken for a command that reads nothing`,
  );
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
});

Deno.test("the window grows for a reader that is fast, and stays small for one that is not", async () => {
  let ahead = 0;
  await using server = await serveSsh(ids, async (channel) => {
    const chunk = new Uint8Array(65_536);
    while (await channel.write("stdout", chunk)) ahead += chunk.length;
  });
  /** Reads so much at this pace, then nothing: how far the writer is ahead once it waits. */
  const aheadAfter = async (channel: ClientChannel, bytes: number, pauseMs: number) => {
    for (let read = 0; read < bytes;) {
      const chunk = (await channel.stdout.read())!;
      read += chunk.length;
      ahead -= chunk.length;
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    for (let last = NaN; last !== ahead;) {
      last = ahead;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return ahead;
  };
  {
    await using connection = await connectTo(server.port, ids);
    await using slow = await connection.openExec("endless");
    // a read gives a whole window at once, so that is less than one a second
    const bytes = await aheadAfter(slow, 600_000, 1_100);
    assert.ok(bytes < MIB, `${bytes} bytes ahead of a slow reader`);
  }
  ahead = 0;
  await using connection = await connectTo(server.port, ids);
  await using fast = await connection.openExec("endless");
  // on a machine that is busy elsewhere a reader is fast now and then only
  const hasGrown = async () => await aheadAfter(fast, 16 * MIB, 0) > 3 * MIB;
  await eventually("the window of a fast reader has grown", hasGrown, 30_000);
});

Deno.test("fifty channels at once on one connection do not mix", async () => {
  await using server = await serveSsh(ids, echo);
  await using connection = await connectTo(server.port, ids);
  await Promise.all(Array.from({ length: 50 }, async (_, i) => {
    await using channel = await connection.openExec("echo");
    const sent = new Uint8Array(200_000).fill(i);
    const reading = readAll(channel.stdout), silent = readAll(channel.stderr);
    await channel.write(sent);
    channel.endInput();
    assert.deepEqual(await reading, sent);
    await silent;
    await channel.exit;
  }));
});

Deno.test("requests of a type that SSH does not define are kept for the caller, the last of each type", async () => {
  await using server = await serveSsh(ids, async (channel) => {
    for (const text of ["first", "second"]) {
      channel.sendRequest("outcome@example.org", new TextEncoder().encode(text));
    }
    await end(channel);
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openSubsystem("x@example.org");
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  await channel.exit;
  assert.equal(new TextDecoder().decode(channel.received("outcome@example.org")), "second");
  assert.equal(channel.received("other@example.org"), undefined);
});

Deno.test("signals arrive by name; one sent before the handler is there is not lost", async () => {
  await using server = await serveSsh(ids, async (channel) => {
    await channel.input.read(); // the client has sent its first signal by now
    const names: string[] = [];
    const two = Promise.withResolvers<void>();
    channel.onSignal((name) => names.push(name) === 2 && two.resolve());
    await two.promise;
    await channel.end({ kind: "signal", signal: names.join("+") });
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("x");
  channel.signal("INT");
  await channel.write(new Uint8Array([1]));
  channel.signal("TERM");
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual(await channel.exit, { kind: "signal", signal: "INT+TERM" });
});

Deno.test("a client that closes its output ends the writer, not the channel", async () => {
  await using server = await serveSsh(ids, async (channel) => {
    while (await channel.write("stdout", new Uint8Array(65_536)));
    assert.ok(channel.outputClosed.aborted);
    assert.ok(!channel.closed.aborted);
    await channel.write("stderr", new TextEncoder().encode("still here"));
    await end(channel, 141);
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("yes");
  await channel.stdout.read();
  channel.closeOutput();
  assert.equal(new TextDecoder().decode(await readAll(channel.stderr)), "still here");
  assert.equal(await channel.stdout.read(), null);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 141 });
});

Deno.test("disposing a channel closes it on the server; the connection goes on", async () => {
  const gone = Promise.withResolvers<void>();
  await using server = await serveSsh(ids, (channel) => {
    if (channel.request.kind === "exec" && text(channel.request.command) === "wait") {
      channel.closed.addEventListener("abort", () => gone.resolve());
      return Promise.resolve();
    }
    return end(channel);
  });
  await using connection = await connectTo(server.port, ids);
  const waiting = await connection.openExec("wait");
  const disposing = waiting[Symbol.asyncDispose]();
  await gone.promise;
  await disposing;
  await using channel = await connection.openExec("true");
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
});

Deno.test("disposing the connection ends its channels on both ends", async () => {
  const gone = Promise.withResolvers<void>();
  await using server = await serveSsh(ids, (channel) => {
    channel.closed.addEventListener("abort", () => gone.resolve());
    return Promise.resolve();
  });
  const connection = await connectTo(server.port, ids);
  const channel = await connection.openExec("wait");
  await connection[Symbol.asyncDispose]();
  await gone.promise;
  await assert.rejects(channel.exit, ConnectionLostError);
  assert.equal(await channel.write(new Uint8Array([1])), false);
  assert.equal(await channel.stdout.read(), null);
  await assert.rejects(connection.openExec("true"));
});

Deno.test("a server whose identity cannot be had closes the connection, and goes on when it can", async () => {
  let broken = true;
  await using server = await serveSsh(ids, end, {
    identity() {
      if (broken) throw new Error("no certificate");
      return { key: ids.host, certificate: ids.hostCertificate() };
    },
  });
  await assert.rejects(connectTo(server.port, ids));
  broken = false;
  await using _ = await connectTo(server.port, ids);
});

Deno.test("RUN-20: a new size of the client's terminal reaches the command", async () => {
  const sizes: unknown[] = [];
  await using server = await serveSsh(ids, async (channel) => {
    const told = new Promise<void>((resolve) => {
      channel.onResize((size) => {
        sizes.push(size);
        if (size.cols === 132) resolve();
      });
    });
    await told;
    await end(channel);
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openSubsystem("x");
  channel.resize({ cols: 100, rows: 30 });
  channel.resize({ cols: 132, rows: 50 });
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
  assert.deepEqual(sizes.at(-1), { cols: 132, rows: 50 });
});

Deno.test("a channel that was opened ahead is no way past what was revoked or has ended meanwhile", async () => {
  let accept = true, served = 0;
  await using server = await serveSsh(ids, async (channel) => {
    served++;
    await end(channel);
  }, {
    authenticate: ({ username }) =>
      accept ? { accept, proof: username } : { accept, reason: "it has ended", banner: undefined },
  });
  await using connection = await connectTo(server.port, ids);
  const [first, second] = [await connection.prepareChannel(), await connection.prepareChannel()];
  const channel = first.begin("x@example.org", new Uint8Array(1));
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
  accept = false;
  const refused = second.begin("x@example.org", new Uint8Array(1));
  await Promise.all([readAll(refused.stdout), readAll(refused.stderr)]);
  await assert.rejects(refused.exit, ChannelRefusedError);
  assert.equal(served, 1);
});
