/** What a hostile client may try on the server. After each attempt a good client is still served. */
import assert from "node:assert/strict";
import { text } from "../../../src/bytes.ts";
import { Buffer } from "node:buffer";
import { CERT_TYPE } from "../../../src/ssh/certificate.ts";
import { AuthRefusedError, connectSsh, NotAnsweredError } from "../../../src/ssh/client.ts";
import { ChannelRefusedError } from "../../../src/ssh/connection.ts";
import type { ServerChannel } from "../../../src/ssh/channel.ts";
import { generateKey, KEY_TYPE, signBytes } from "../../../src/ssh/key.ts";
import { MESSAGE } from "../../../src/ssh/messages.ts";
import { authRequest } from "../../../src/ssh/userauth.ts";
import { Reader, str, u32 } from "../../../src/ssh/wire.ts";
import {
  askService,
  connectAuthenticated,
  connectRaw,
  openRawSession,
  type RawPeer,
} from "../../fixtures/raw_ssh.ts";
import {
  connectTo,
  createIdentities,
  dial,
  readAll,
  serveSsh,
  type TestServer,
  USER_NAME,
} from "../../fixtures/ssh.ts";
import { eventually } from "../../fixtures/processes.ts";

const ids = createIdentities();
let ran = 0;

async function act(channel: ServerChannel<string>): Promise<void> {
  ran++;
  const { request } = channel;
  if (request.kind === "exec" && text(request.command) === "hold") {
    await new Promise<void>((resolve) =>
      channel.closed.addEventListener("abort", () => resolve(), { once: true })
    );
  }
  await channel.end({ kind: "exit", code: 0 });
}

async function isServing(server: TestServer): Promise<void> {
  await using connection = await connectTo(server.port, ids);
  await using channel = await connection.openExec("true");
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual(await channel.exit, { kind: "exit", code: 0 });
}

/** Resolves to all that the server sent before it closed. */
function untilClosed(socket: Awaited<ReturnType<typeof dial>>): Promise<number> {
  return new Promise((resolve) => {
    let bytes = 0;
    socket.on("data", (chunk: Uint8Array) => bytes += chunk.length);
    socket.on("error", () => {});
    socket.on("end", () => socket.destroy());
    socket.once("close", () => resolve(bytes));
  });
}

const FIRST_WORDS: [string, Uint8Array | string][] = [
  ["SSH-1.99", "SSH-1.99-old\r\n"],
  ["SSH-1.5", "SSH-1.5-old\r\n"],
  ["HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a TLS hello", new Uint8Array([22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 10])],
  ["NUL in the line", "SSH-2.0-a\0b\r\n"],
  ["a line before it", "hello\r\nSSH-2.0-x\r\n"],
  ["many lines", "x\n".repeat(100_000)],
  ["a megabyte without newline", "SSH-2.0-" + "x".repeat(1_000_000)],
  ["256 bytes", "SSH-2.0-" + "x".repeat(248) + "\r\n"],
  ["no name", "SSH-2.0-\r\n"],
];

for (const [name, words] of FIRST_WORDS) {
  Deno.test(`SSH-3: a connection that begins with ${name} is closed`, async () => {
    await using server = await serveSsh(ids, act);
    const socket = await dial(server.port);
    const closed = untilClosed(socket);
    socket.write(words);
    await closed;
    await isServing(server);
  });
}

Deno.test("SSH-3: a version line in many pieces is one line", async () => {
  await using server = await serveSsh(ids, act);
  const socket = await dial(server.port);
  let answer = Buffer.alloc(0);
  const exchanged = new Promise<void>((resolve) => {
    socket.on("data", (bytes: Buffer) => {
      answer = Buffer.concat([answer, bytes]);
      if (answer.length > 300) resolve(); // its KEXINIT, which follows our line
    });
  });
  for (const byte of "SSH-2.0-slow\r\n") {
    await new Promise<void>((resolve) => socket.write(byte, () => resolve()));
  }
  await exchanged;
  socket.destroy();
});

const PACKETS: [string, Uint8Array][] = [
  ["length 0", u32(0)],
  ["length 1", u32(1)],
  ["length 35001", u32(35001)],
  ["length 2^32-1", u32(0xffffffff)],
  ["padding beyond the packet", Buffer.concat([u32(12), Buffer.from([255]), Buffer.alloc(11)])],
  ["a KEXINIT without its lists", Buffer.concat([u32(12), Buffer.from([4, 20]), Buffer.alloc(10)])],
];

for (const [name, packet] of PACKETS) {
  Deno.test(`SSH-4: a first packet with ${name} ends the connection, and what follows is not read`, async () => {
    await using server = await serveSsh(ids, act);
    const socket = await dial(server.port);
    const closed = untilClosed(socket);
    socket.write("SSH-2.0-x\r\n");
    socket.write(packet);
    socket.write(new Uint8Array(1_000_000));
    await closed;
    await isServing(server);
  });
}

Deno.test("SSH-4: a packet with a flipped bit ends the connection", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectAuthenticated(server.port, ids);
  peer.socket.write(crypto.getRandomValues(new Uint8Array(64)));
  await peer.closed;
  await isServing(server);
});

const session = [str("session"), u32(0), u32(2 ** 20), u32(32768)];
const EARLY: [string, (peer: RawPeer) => void][] = [
  ["a channel open", (peer) => peer.send(MESSAGE.CHANNEL_OPEN, ...session)],
  [
    "an exec request",
    (peer) =>
      peer.send(MESSAGE.CHANNEL_REQUEST, u32(0), str("exec"), Buffer.from([1]), str("true")),
  ],
  [
    "a global request",
    (peer) =>
      peer.send(MESSAGE.GLOBAL_REQUEST, str("tcpip-forward"), Buffer.from([1]), str(""), u32(0)),
  ],
  ["a window adjust", (peer) => peer.send(MESSAGE.CHANNEL_WINDOW_ADJUST, u32(0), u32(1))],
  ["channel data", (peer) => peer.send(MESSAGE.CHANNEL_DATA, u32(0), str("x"))],
  ["a success of its own", (peer) => peer.send(MESSAGE.USERAUTH_SUCCESS)],
  ["another service", (peer) => peer.send(MESSAGE.SERVICE_REQUEST, str("ssh-connection"))],
];

for (const [name, misbehave] of EARLY) {
  for (const phase of ["before the service", "before authentication"] as const) {
    Deno.test(`SSH-5: ${name} ${phase} ends the connection and runs nothing`, async () => {
      await using server = await serveSsh(ids, act);
      const before = ran;
      await using peer = await connectRaw(server.port);
      if (phase === "before authentication") {
        askService(peer);
        await peer.next();
      }
      misbehave(peer);
      await peer.closed;
      assert.equal(ran, before);
      assert.deepEqual(server.server.connections, { unauthenticated: 0, authenticated: 0 });
    });
  }
}

Deno.test("SSH-5: the service asked for twice ends the connection", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  askService(peer);
  await peer.closed;
});

Deno.test("SSH-5: authentication after authentication ends the connection", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectAuthenticated(server.port, ids);
  peer.protocol.send(
    authRequest(USER_NAME, ids.userCertificate(), ids.user, peer.protocol.sessionId),
  );
  await peer.closed;
});

/** Sends one authentication request and returns the type of the answer, undefined where the server closed. */
async function answerTo(
  server: TestServer,
  request: (sessionId: Uint8Array) => Uint8Array,
): Promise<number | undefined> {
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  peer.protocol.send(request(peer.protocol.sessionId));
  return (await peer.next())?.[0];
}

/** A publickey request with every part given by the test. */
function publickey(
  parts: {
    user?: string;
    service?: string;
    algorithm?: string;
    blob?: Uint8Array;
    signature?: Uint8Array;
  },
): (sessionId: Uint8Array) => Uint8Array {
  return (sessionId) => {
    const head = Buffer.concat([
      Buffer.from([MESSAGE.USERAUTH_REQUEST]),
      str(parts.user ?? USER_NAME),
      str(parts.service ?? "ssh-connection"),
      str("publickey"),
      Buffer.from([1]),
      str(parts.algorithm ?? CERT_TYPE),
      str(parts.blob ?? ids.userCertificate()),
    ]);
    const signature = parts.signature ??
      Buffer.concat([
        str(KEY_TYPE),
        str(signBytes(Buffer.concat([str(sessionId), head]), ids.user)),
      ]);
    return Buffer.concat([head, str(signature)]);
  };
}

const method = (name: string, ...rest: Uint8Array[]) => () =>
  Buffer.concat([
    Buffer.from([MESSAGE.USERAUTH_REQUEST]),
    str(USER_NAME),
    str("ssh-connection"),
    str(name),
    ...rest,
  ]);

/** Asks whether the good certificate would do, and proves nothing. */
const PROBE = Buffer.concat([
  Buffer.from([MESSAGE.USERAUTH_REQUEST]),
  str(USER_NAME),
  str("ssh-connection"),
  str("publickey"),
  Buffer.from([0]),
  str(CERT_TYPE),
  str(ids.userCertificate()),
]);

const REFUSED: [string, (sessionId: Uint8Array) => Uint8Array][] = [
  ["CERT-5: a bare key", publickey({ algorithm: KEY_TYPE, blob: ids.user.blob })],
  ["CERT-5: the CA's own key", publickey({ algorithm: KEY_TYPE, blob: ids.userCa.blob })],
  ["CERT-5: a password", method("password", Buffer.from([0]), str("secret"))],
  ["CERT-5: keyboard-interactive", method("keyboard-interactive", str(""), str(""))],
  [
    "CERT-5: hostbased",
    method("hostbased", str(KEY_TYPE), str(ids.host.blob), str("h"), str("u"), str("")),
  ],
  ["CERT-21: an empty signature", publickey({ signature: new Uint8Array() })],
  [
    "CERT-21: a signature of zeros",
    publickey({ signature: Buffer.concat([str(KEY_TYPE), str(new Uint8Array(64))]) }),
  ],
  [
    "CERT-21: noise as signature",
    publickey({
      signature: Buffer.concat([str(KEY_TYPE), str(crypto.getRandomValues(new Uint8Array(64)))]),
    }),
  ],
  [
    "CERT-21: a signature by another key",
    (id) => authRequest(USER_NAME, ids.userCertificate(), generateKey(), id),
  ],
  [
    "CERT-22: a signature over another session",
    () => authRequest(USER_NAME, ids.userCertificate(), ids.user, new Uint8Array(32)),
  ],
  ["CERT-22: a signature named like the certificate", (id) => {
    const named = publickey({})(id),
      signature = new Reader(named.subarray(named.length - 83 - 4)).bytes();
    return publickey({ signature: Buffer.concat([str(CERT_TYPE), signature.subarray(15)]) })(id);
  }],
  ["CERT-22: a certificate under the plain algorithm's name", publickey({ algorithm: KEY_TYPE })],
  ["CERT-22: RSA's algorithm name", publickey({ algorithm: "ssh-rsa" })],
  ["CERT-8: a certificate as the certified key", publickey({ blob: certificateOverCertificate() })],
];

function certificateOverCertificate(): Uint8Array {
  const inner = ids.userCertificate();
  return ids.userCertificate({ key: { raw: inner, blob: inner } });
}

for (const [name, request] of REFUSED) {
  Deno.test(`${name} is refused`, async () => {
    await using server = await serveSsh(ids, act);
    assert.equal(await answerTo(server, request), MESSAGE.USERAUTH_FAILURE);
  });
}

Deno.test("CERT-22: a signature for another user name is refused", async () => {
  await using server = await serveSsh(ids, act);
  assert.equal(
    await answerTo(server, (id) => {
      const signed = publickey({ user: "bob" })(id),
        signature = new Reader(signed.subarray(signed.length - 87)).bytes();
      return publickey({ user: USER_NAME, signature })(id);
    }),
    MESSAGE.USERAUTH_FAILURE,
  );
});

Deno.test("CERT-22: another service ends the connection", async () => {
  await using server = await serveSsh(ids, act);
  assert.equal(await answerTo(server, publickey({ service: "ssh-other" })), undefined);
});

Deno.test("CERT-5: publickey is the only method there is", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  peer.protocol.send(method("none")());
  const answer = new Reader((await peer.next())!.subarray(1));
  assert.equal(answer.text(), "publickey");
});

Deno.test("CERT-20: a probe with one certificate does not speak for the signature that follows", async () => {
  const asked: Uint8Array[] = [];
  const mallory = generateKey();
  const weak = ids.userCertificate({ key: mallory, keyId: "usr_mallory" }, generateKey());
  await using server = await serveSsh(ids, act, {
    authenticate({ certificate, username }) {
      asked.push(certificate);
      return Buffer.from(certificate).equals(Buffer.from(weak))
        ? { accept: false, reason: "another CA" }
        : { accept: true, proof: username };
    },
  });
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  peer.protocol.send(PROBE);
  assert.equal((await peer.next())![0], MESSAGE.USERAUTH_PK_OK);
  assert.equal(asked.length, 0);
  peer.protocol.send(authRequest(USER_NAME, weak, mallory, peer.protocol.sessionId));
  assert.equal((await peer.next())![0], MESSAGE.USERAUTH_FAILURE);
  assert.deepEqual(asked, [weak]);
});

Deno.test("default 16: the sixth failed try ends the connection", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  for (let i = 1; i <= 6; i++) {
    peer.protocol.send(method("password", Buffer.from([0]), str("x"))());
    assert.equal((await peer.next())?.[0], MESSAGE.USERAUTH_FAILURE);
  }
  await peer.closed;
});

Deno.test("default 16: probes without end run into the byte budget", async () => {
  await using server = await serveSsh(ids, act, { limits: { unauthenticatedBytes: 40_000 } });
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  let answers = 0;
  for (; !peer.socket.destroyed && answers < 1000; answers++) {
    peer.protocol.send(PROBE);
    if (!await peer.next()) break;
  }
  await peer.closed;
  assert.ok(answers > 10 && answers < 200, `${answers}`);
});

Deno.test("a refusal with a banner tells its holder why, and disconnects", async () => {
  await using server = await serveSsh(ids, act, {
    authenticate: () => ({
      accept: false,
      reason: "expired",
      banner: "openbox: cert_expired: it ended",
    }),
  });
  await assert.rejects(
    connectTo(server.port, ids),
    (error) =>
      error instanceof AuthRefusedError && error.banner === "openbox: cert_expired: it ended",
  );
  await using quiet = await serveSsh(ids, act, {
    authenticate: () => ({ accept: false, reason: "another CA" }),
  });
  await assert.rejects(
    connectTo(quiet.port, ids),
    (error) => error instanceof AuthRefusedError && error.banner === undefined,
  );
});

Deno.test("SSH-8: 10,000 channel opens get 64 channels; the rest are refused, and all are given back", async () => {
  // on a slow machine a keepalive would come between
  await using server = await serveSsh(ids, act, { limits: { keepaliveMs: 600_000 } });
  await using peer = await connectAuthenticated(server.port, ids);
  const open: number[] = [];
  let refused = 0;
  for (let i = 0; i < 10_000; i++) {
    peer.send(MESSAGE.CHANNEL_OPEN, str("session"), u32(i), u32(2 ** 20), u32(32768));
  }
  for (let i = 0; i < 10_000; i++) {
    const answer = (await peer.next())!;
    if (answer[0] === MESSAGE.CHANNEL_OPEN_CONFIRMATION) open.push(answer.readUInt32BE(5));
    else {
      assert.equal(answer[0], MESSAGE.CHANNEL_OPEN_FAILURE);
      assert.equal(answer.readUInt32BE(5), 1, "administratively prohibited");
      refused++;
    }
  }
  assert.deepEqual([open.length, refused], [64, 9936]);
  for (const id of open) peer.send(MESSAGE.CHANNEL_CLOSE, u32(id));
  for (const _ of open) assert.equal((await peer.next())![0], MESSAGE.CHANNEL_CLOSE);
  await openRawSession(peer);
});

Deno.test("SSH-10: channels that forward, and unknown ones, are refused; the connection goes on", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectAuthenticated(server.port, ids);
  for (
    const type of [
      "direct-tcpip",
      "forwarded-tcpip",
      "direct-streamlocal@openssh.com",
      "x11",
      "auth-agent@openssh.com",
      "made-up",
    ]
  ) {
    peer.send(
      MESSAGE.CHANNEL_OPEN,
      str(type),
      u32(1),
      u32(1000),
      u32(1000),
      str("127.0.0.1"),
      u32(22),
      str("x"),
      u32(1),
    );
    assert.equal((await peer.next())![0], MESSAGE.CHANNEL_OPEN_FAILURE, type);
  }
  await openRawSession(peer);
});

Deno.test("SSH-10: terminals, X11, agents and subsystems nobody knows get a failure, not a false success", async () => {
  await using server = await serveSsh(ids, act, {
    acceptEnv: () => false,
    acceptSubsystem: () => false,
    permitPty: () => false,
  });
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer);
  const requests: [string, ...Uint8Array[]][] = [
    ["pty-req", str("xterm"), u32(0x80000000), u32(24), u32(0), u32(0), str("")],
    ["x11-req", Buffer.from([0]), str("MIT-MAGIC-COOKIE-1"), str("00"), u32(0)],
    ["auth-agent-req@openssh.com"],
    ["env", str("LD_PRELOAD"), str("/x.so")],
    ["env", str("A\0B"), str("1")],
    ["window-change", u32(0xffffffff), u32(0), u32(0), u32(0)],
    ["break", u32(0)],
    ["subsystem", str("sftp")],
    ["exec", str("nul\0byte")],
  ];
  for (const [type, ...fields] of requests) {
    peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str(type), Buffer.from([1]), ...fields);
    assert.equal((await peer.next())![0], MESSAGE.CHANNEL_FAILURE, type);
  }
});

Deno.test("SSH-10: a terminal's size is one that programs can bear, its name one that a terminal may have", async () => {
  const arrived = Promise.withResolvers<ServerChannel<string>>();
  await using server = await serveSsh(ids, (channel) => {
    arrived.resolve(channel);
    return new Promise((resolve) => channel.closed.addEventListener("abort", () => resolve()));
  });
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer);
  const ask = async (type: string, ...fields: Uint8Array[]) => {
    peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str(type), Buffer.from([1]), ...fields);
    return (await peer.next())![0] === MESSAGE.CHANNEL_SUCCESS;
  };
  const size = [u32(0x80000000), u32(24), u32(0), u32(0)];
  for (const term of ["../../etc/passwd", "a\0b", "-x", "é", "x".repeat(65)]) {
    assert.ok(!await ask("pty-req", str(term), ...size, str("")), term);
  }
  assert.ok(await ask("pty-req", str("xterm-256color"), ...size, str("")));
  assert.ok(!await ask("pty-req", str("xterm"), ...size, str("")), "a second one");
  assert.ok(await ask("window-change", u32(0xffffffff), u32(0), u32(0), u32(0)));
  assert.ok(await ask("shell"));
  const channel = await arrived.promise;
  assert.deepEqual(channel.terminal, { term: "xterm-256color", cols: 4096, rows: 24 });
  const sizes: unknown[] = [];
  channel.onResize((size) => sizes.push(size));
  assert.ok(await ask("window-change", u32(100), u32(30), u32(0), u32(0)));
  assert.deepEqual(sizes, [{ cols: 4096, rows: 0 }, { cols: 100, rows: 30 }]);
});

Deno.test("SSH-11: a command line that is not UTF-8 arrives byte for byte", async () => {
  const arrived = Promise.withResolvers<Uint8Array>();
  await using server = await serveSsh(ids, (channel) => {
    if (channel.request.kind === "exec") arrived.resolve(channel.request.command);
    return Promise.resolve();
  });
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer), line = new Uint8Array([0x65, 0xff, 0xfe, 0x0a, 0xc3]);
  peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str("exec"), Buffer.from([0]), str(line));
  assert.deepEqual(await arrived.promise, line);
});

Deno.test("SSH-11: an exec request whose length is a lie ends the connection and runs nothing", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer), before = ran;
  peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str("exec"), Buffer.from([1]), u32(0xffffffff));
  await peer.closed;
  assert.equal(ran, before);
});

Deno.test("SSH-11: one channel runs one thing", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer), before = ran;
  for (const expected of [MESSAGE.CHANNEL_SUCCESS, MESSAGE.CHANNEL_FAILURE]) {
    peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str("exec"), Buffer.from([1]), str("hold"));
    assert.equal((await peer.next())![0], expected);
  }
  assert.equal(ran, before + 1);
});

Deno.test("SSH-11: signals with any name reach the handler as text or are dropped, never the process", async () => {
  const names: string[] = [];
  const heard = Promise.withResolvers<void>();
  await using server = await serveSsh(ids, (channel) => {
    channel.onSignal((name) => {
      names.push(name);
      if (name === "TERM") heard.resolve();
    });
    return Promise.resolve();
  });
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer);
  peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str("exec"), Buffer.from([0]), str("x"));
  for (const name of ["../../x", "", "TERM"]) {
    peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str("signal"), Buffer.from([0]), str(name));
  }
  await heard.promise;
  assert.deepEqual(names, ["../../x", "", "TERM"]);
});

Deno.test("more data than the window allows ends the connection", async () => {
  await using server = await serveSsh(ids, act);
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer);
  peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str("exec"), Buffer.from([0]), str("hold"));
  const data = str(new Uint8Array(30_001));
  for (let sent = 0; sent < 6_000_000 && !peer.socket.destroyed; sent += 30_001) {
    peer.send(MESSAGE.CHANNEL_DATA, u32(id), data);
    if (peer.socket.writableNeedDrain) {
      await Promise.race([
        new Promise((resolve) => peer.socket.once("drain", resolve)),
        peer.closed,
      ]);
    }
  }
  await peer.closed;
  await isServing(server);
});

const BAD_CHANNEL_MESSAGES: [string, number, Uint8Array[]][] = [
  ["data for a channel that does not exist", MESSAGE.CHANNEL_DATA, [u32(99), str("x")]],
  ["a close of a channel that does not exist", MESSAGE.CHANNEL_CLOSE, [u32(99)]],
  ["a window for a channel that does not exist", MESSAGE.CHANNEL_WINDOW_ADJUST, [u32(99), u32(1)]],
  ["a confirmation nobody waits for", MESSAGE.CHANNEL_OPEN_CONFIRMATION, [
    u32(0),
    u32(0),
    u32(1),
    u32(1),
  ]],
  ["a success nobody waits for", MESSAGE.CHANNEL_SUCCESS, [u32(0)]],
  ["a truncated open", MESSAGE.CHANNEL_OPEN, [str("session")]],
  ["a channel without room for data", MESSAGE.CHANNEL_OPEN, [
    str("session"),
    u32(0),
    u32(1),
    u32(0),
  ]],
  ["a type that is not UTF-8", MESSAGE.CHANNEL_OPEN, [
    str(new Uint8Array([0xff])),
    u32(0),
    u32(1),
    u32(1),
  ]],
];

for (const [name, type, fields] of BAD_CHANNEL_MESSAGES) {
  Deno.test(`${name} ends the connection`, async () => {
    await using server = await serveSsh(ids, act);
    await using peer = await connectAuthenticated(server.port, ids);
    peer.send(type, ...fields);
    await peer.closed;
    await isServing(server);
  });
}

Deno.test("SSH-1: silent connections end with the grace, and a real login goes on meanwhile", async () => {
  await using server = await serveSsh(ids, act, { limits: { graceMs: 600 } });
  const silent = await Promise.all(Array.from({ length: 300 }, () => dial(server.port)));
  const closed = Promise.all(silent.map(untilClosed));
  const start = performance.now();
  await isServing(server);
  assert.ok(performance.now() - start < 1000);
  await closed;
  assert.equal(server.server.connections.unauthenticated, 0);
});

Deno.test("SSH-1: the oldest silent connection makes room for a new one", async () => {
  await using server = await serveSsh(ids, act, { limits: { silent: 5 } });
  const oldest = await dial(server.port);
  const closed = untilClosed(oldest);
  const others = await Promise.all(Array.from({ length: 5 }, () => dial(server.port)));
  await closed;
  await isServing(server);
  for (const socket of others) socket.destroy();
});

Deno.test("SSH-2: slow handshakes fill the slots and the line of their source; the rest is closed unanswered", async () => {
  await using server = await serveSsh(ids, act, {
    limits: { slots: 4, slotsPerSource: 4, waiting: 3, waitingPerSource: 3 },
  });
  const talk = async () => {
    const socket = await dial(server.port);
    socket.write("SSH-2.0-slow\r\n");
    return socket;
  };
  const slow = await Promise.all(Array.from({ length: 7 }, talk));
  const answered = Promise.all(
    slow.slice(0, 4).map((socket) => new Promise((resolve) => socket.once("data", resolve))),
  );
  await answered;
  const excess = await talk();
  const bytes = await untilClosed(excess);
  assert.ok(bytes < 100, `${bytes} bytes: its version line and nothing more`);
  await assert.rejects(
    (async () =>
      await connectSsh({
        socket: await dial(server.port),
        username: USER_NAME,
        key: ids.user,
        certificate: ids.userCertificate(),
        verifyHost: () => ids.host,
        signal: AbortSignal.timeout(5000),
      }))(),
    NotAnsweredError,
  );
  for (const socket of slow) socket.destroy();
  await eventually("the slow ones are gone", () => server.server.connections.unauthenticated === 0);
  await isServing(server);
});

Deno.test("SSH-13: a peer that vanished is given up, and its channels end", async () => {
  const gone = Promise.withResolvers<void>();
  await using server = await serveSsh(ids, (channel) => {
    channel.closed.addEventListener("abort", () => gone.resolve());
    return Promise.resolve();
  }, { limits: { keepaliveMs: 50 } });
  await using peer = await connectAuthenticated(server.port, ids);
  const id = await openRawSession(peer);
  peer.send(MESSAGE.CHANNEL_REQUEST, u32(id), str("exec"), Buffer.from([0]), str("x"));
  peer.socket.pause(); // the raw peer answers no keepalive
  await gone.promise;
  peer.socket.resume();
});

Deno.test("a certificate that is not believed any more opens no further channel; what runs goes on", async () => {
  let believed = true;
  await using server = await serveSsh(ids, act, {
    authenticate: ({ username }) =>
      believed
        ? { accept: true, proof: username }
        : { accept: false, reason: "expired", banner: "openbox: cert_expired: it ended" },
  });
  await using connection = await connectTo(server.port, ids);
  await using running = await connection.openExec("hold");
  believed = false;
  await assert.rejects(
    connection.openExec("true"),
    (error) => error instanceof ChannelRefusedError && error.message.includes("cert_expired"),
  );
  assert.equal(running.received("nothing"), undefined);
});

Deno.test("a peer without strict key exchange is refused (CVE-2023-48795)", async () => {
  const reasons: unknown[] = [];
  await using server = await serveSsh(ids, act, { log: (_, { reason }) => reasons.push(reason) });
  const { default: Ssh2Client } = await import("ssh2/lib/client.js");
  const { KexInit } = await import("ssh2/lib/protocol/kex.js");
  const direction = { cipher: ["aes128-gcm@openssh.com"], mac: [], compress: ["none"], lang: [] };
  const client = new Ssh2Client(), socket = await dial(server.port);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  client.on("error", () => {});
  client.connect({ sock: socket, username: USER_NAME, password: "x", hostVerifier: () => true });
  // the marker that ssh2 appends to every offer is missing in this one
  client._protocol._offer = new KexInit({
    kex: ["curve25519-sha256"],
    serverHostKey: [KEY_TYPE],
    cs: direction,
    sc: direction,
  });
  await closed;
  assert.match(String(reasons.at(-1)), /strict key exchange/);
});
