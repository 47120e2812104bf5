/** What a hostile server may try on our client: it ends with an error in time, or is told the truth. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import {
  AuthRefusedError,
  ConnectionLostError,
  NotAnsweredError,
} from "../../../src/ssh/client.ts";
import { MESSAGE } from "../../../src/ssh/messages.ts";
import { createProtocol, type Protocol, protocolReady } from "../../../src/ssh/ssh2_protocol.ts";
import { Reader, str, u32 } from "../../../src/ssh/wire.ts";
import { eventually } from "../../fixtures/processes.ts";
import { connectTo, createIdentities, dial, readAll } from "../../fixtures/ssh.ts";

const ids = createIdentities();

interface HostileServer extends AsyncDisposable {
  readonly port: number;
}

async function listen(onSocket: (socket: Socket) => void): Promise<HostileServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("end", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A server whose key exchange is right; every message of the client goes to `answer`. */
async function hostile(
  answer: (protocol: Protocol, payload: Buffer, socket: Socket) => void,
): Promise<HostileServer> {
  await protocolReady();
  return await listen((socket) => {
    const protocol = createProtocol({
      kind: "server",
      identity: { key: ids.host, certificate: ids.hostCertificate() },
    }, {
      onWrite: (bytes) => void (socket.destroyed || socket.write(bytes)),
      onMessage: (payload) => answer(protocol, payload, socket),
      onKeys: () => {},
      onDisconnect: () => {},
      onError: () => {},
    });
    socket.on("data", (bytes: Uint8Array) => {
      try {
        protocol.feed(bytes);
      } catch { /* the client is gone */ }
    });
    protocol.start();
  });
}

const byte = (value: number) => Buffer.from([value]);

/** Lets everybody in, opens channels, grants requests; then `misbehave` on the client's channel number. */
const afterExec = (misbehave: (protocol: Protocol, channel: Buffer, socket: Socket) => void) => {
  let channel: Buffer = Buffer.alloc(4);
  return hostile((protocol, payload, socket) => {
    switch (payload[0]) {
      case MESSAGE.SERVICE_REQUEST:
        return protocol.send(byte(MESSAGE.SERVICE_ACCEPT), str("ssh-userauth"));
      case MESSAGE.USERAUTH_REQUEST:
        return protocol.send(byte(MESSAGE.USERAUTH_SUCCESS));
      case MESSAGE.CHANNEL_OPEN: {
        const fields = new Reader(payload.subarray(1));
        fields.text();
        channel = u32(fields.u32());
        return protocol.send(
          byte(MESSAGE.CHANNEL_OPEN_CONFIRMATION),
          channel,
          u32(7),
          u32(2 ** 20),
          u32(32768),
        );
      }
      case MESSAGE.CHANNEL_REQUEST:
        if (payload.includes("exec")) {
          protocol.send(byte(MESSAGE.CHANNEL_SUCCESS), channel);
          misbehave(protocol, channel, socket);
        }
        return;
      default:
    }
  });
};

const exitStatus = (channel: Buffer, code: number) =>
  [byte(MESSAGE.CHANNEL_REQUEST), channel, str("exit-status"), byte(0), u32(code)] as const;

async function outcome(server: HostileServer) {
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("x");
  const [out, err] = await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  return { out: out.length, err: err.length, exit: await channel.exit };
}

Deno.test("SSH-15: of two exit statuses the first wins, whatever its size", async () => {
  await using server = await afterExec((protocol, channel) => {
    protocol.send(...exitStatus(channel, 2 ** 31));
    protocol.send(...exitStatus(channel, 0));
    protocol.send(byte(MESSAGE.CHANNEL_CLOSE), channel);
  });
  assert.deepEqual((await outcome(server)).exit, { kind: "exit", code: 2 ** 31 });
});

Deno.test("SSH-15: a channel that closes without an exit status has no exit, never 0", async () => {
  await using server = await afterExec((protocol, channel) =>
    protocol.send(byte(MESSAGE.CHANNEL_CLOSE), channel)
  );
  assert.equal((await outcome(server)).exit, undefined);
});

Deno.test("SSH-15: a connection that ends under a channel is lost, exit status or not", async () => {
  await using server = await afterExec((protocol, channel, socket) => {
    protocol.send(...exitStatus(channel, 0));
    socket.end();
  });
  await assert.rejects(outcome(server), ConnectionLostError);
});

Deno.test("SSH-15: data after the close ends the connection", async () => {
  await using server = await afterExec((protocol, channel) => {
    protocol.send(...exitStatus(channel, 0));
    protocol.send(byte(MESSAGE.CHANNEL_CLOSE), channel);
    protocol.send(byte(MESSAGE.CHANNEL_DATA), channel, str("late"));
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("x");
  const [out] = await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.equal(out.length, 0);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
  await eventually("the connection is over", () => connection.closed.aborted);
  assert.match(connection.closed.reason.message, /channel 1 does not exist/);
});

Deno.test("SSH-15: more data than the window allows ends the connection", async () => {
  await using server = await afterExec((protocol, channel) => {
    const data = str(new Uint8Array(32_768));
    for (let sent = 0; sent < 8 * 2 ** 20; sent += 32_768) {
      protocol.send(byte(MESSAGE.CHANNEL_DATA), channel, data);
    }
  });
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("x");
  await assert.rejects(channel.exit, ConnectionLostError); // nobody reads, so the window never opens
});

/** Sends banners until the client is gone, each after `pauseMs`. */
async function withBanners(pauseMs: number): Promise<HostileServer> {
  const sending: Promise<void>[] = [];
  const server = await hostile((protocol, payload, socket) => {
    if (payload[0] === MESSAGE.SERVICE_REQUEST) {
      protocol.send(byte(MESSAGE.SERVICE_ACCEPT), str("ssh-userauth"));
    }
    if (payload[0] !== MESSAGE.USERAUTH_REQUEST) return;
    sending.push((async () => {
      while (!socket.destroyed) {
        protocol.send(byte(MESSAGE.USERAUTH_BANNER), str("a line\r\n"), str(""));
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    })());
  });
  return {
    port: server.port,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Promise.all(sending);
    },
  };
}

Deno.test("SSH-15: banners without end run into the byte budget", async () => {
  await using server = await withBanners(0);
  const limits = { unauthenticatedBytes: 8192 }, signal = AbortSignal.timeout(20_000);
  await assert.rejects(
    connectTo(server.port, ids, { limits, signal }),
    /too many bytes before authentication/,
  );
});

Deno.test("SSH-15: slow banners without end are given up by the signal", async () => {
  await using server = await withBanners(20);
  await assert.rejects(connectTo(server.port, ids, { signal: AbortSignal.timeout(300) }), {
    name: "TimeoutError",
  });
});

Deno.test("SSH-15: of several banners the first line is kept, as something that a terminal can show", async () => {
  await using server = await hostile((protocol, payload) => {
    if (payload[0] === MESSAGE.SERVICE_REQUEST) {
      protocol.send(byte(MESSAGE.SERVICE_ACCEPT), str("ssh-userauth"));
    }
    if (payload[0] !== MESSAGE.USERAUTH_REQUEST) return;
    for (let i = 0; i < 3; i++) {
      protocol.send(byte(MESSAGE.USERAUTH_BANNER), str(`line ${i}\x1b[2J\r\nmore`), str(""));
    }
    protocol.send(byte(MESSAGE.USERAUTH_FAILURE), str("publickey"), byte(0));
  });
  await assert.rejects(connectTo(server.port, ids), {
    name: "AuthRefusedError",
    banner: "line 0?[2J",
  });
});

for (const step of ["version", "key exchange", "service", "authentication"] as const) {
  Deno.test(`SSH-15: a server that stalls at the ${step} is given up by the signal`, async () => {
    await using server = step === "version"
      ? await listen(() => {})
      : step === "key exchange"
      ? await listen((socket) => void socket.write("SSH-2.0-x\r\n"))
      : await hostile((protocol, payload) => {
        if (step === "authentication" && payload[0] === MESSAGE.SERVICE_REQUEST) {
          protocol.send(byte(MESSAGE.SERVICE_ACCEPT), str("ssh-userauth"));
        }
      });
    const start = performance.now();
    await assert.rejects(connectTo(server.port, ids, { signal: AbortSignal.timeout(100) }), {
      name: "TimeoutError",
    });
    assert.ok(performance.now() - start < 1000);
  });
}

Deno.test("a server that closes before its part of the exchange did not answer: nothing ran", async () => {
  await using server = await listen((socket) => {
    socket.write("SSH-2.0-x\r\n");
    socket.end();
  });
  await assert.rejects(connectTo(server.port, ids), NotAnsweredError);
});

Deno.test("a server that is gone before the client listens is told at once", async () => {
  await using server = await listen((socket) => socket.destroy());
  const socket = await dial(server.port);
  await new Promise((resolve) => socket.resume().once("close", resolve));
  const signal = AbortSignal.timeout(5_000);
  await assert.rejects(connectTo(server.port, ids, { socket, signal }), /does not speak SSH 2/);
});

Deno.test("a server that sends noise first is left within the byte budget", async () => {
  let taken = 0;
  await using server = await listen((socket) => {
    const send = () => {
      if (socket.destroyed) return;
      taken += 16_384;
      socket.write(new Uint8Array(16_384).fill(120), send);
    };
    send();
  });
  await assert.rejects(connectTo(server.port, ids));
  assert.ok(taken < 64 * 2 ** 20);
});

Deno.test("a server may not open channels on our client", async () => {
  const answered = Promise.withResolvers<number | undefined>();
  let asked = false;
  await using server = await hostile((protocol, payload) => {
    switch (payload[0]) {
      case MESSAGE.SERVICE_REQUEST:
        return protocol.send(byte(MESSAGE.SERVICE_ACCEPT), str("ssh-userauth"));
      case MESSAGE.USERAUTH_REQUEST:
        protocol.send(byte(MESSAGE.USERAUTH_SUCCESS));
        asked = true;
        return protocol.send(
          byte(MESSAGE.CHANNEL_OPEN),
          str("auth-agent@openssh.com"),
          u32(0),
          u32(1000),
          u32(1000),
        );
      default:
        // its own first channel is on its way
        if (asked && payload[0] !== MESSAGE.CHANNEL_OPEN) answered.resolve(payload[0]);
    }
  });
  await using _ = await connectTo(server.port, ids);
  assert.equal(await answered.promise, MESSAGE.CHANNEL_OPEN_FAILURE);
});

Deno.test("authentication and the first channel are asked for at once, and nothing more before the answer", async () => {
  const asked: (number | undefined)[] = [];
  await using server = await hostile((protocol, payload) => {
    asked.push(payload[0]);
    if (payload[0] !== MESSAGE.CHANNEL_OPEN) return;
    setTimeout(() => {
      protocol.send(byte(MESSAGE.SERVICE_ACCEPT), str("ssh-userauth"));
      protocol.send(byte(MESSAGE.USERAUTH_FAILURE), str("publickey"), byte(0));
    }, 50);
  });
  await assert.rejects(connectTo(server.port, ids), AuthRefusedError);
  assert.deepEqual(asked, [
    MESSAGE.SERVICE_REQUEST,
    MESSAGE.USERAUTH_REQUEST,
    MESSAGE.CHANNEL_OPEN,
  ]);
});
