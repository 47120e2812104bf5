/** SSH-17: mutated packets on live connections: nothing is let in, nothing runs, nothing falls over, nothing grows. */
import assert from "node:assert/strict";
import { text } from "../../src/bytes.ts";
import { Buffer } from "node:buffer";
import { verifyUserCert } from "../../src/ca/verifier.ts";
import { CERT_TYPE } from "../../src/ssh/certificate.ts";
import { MESSAGE } from "../../src/ssh/messages.ts";
import { authRequest } from "../../src/ssh/userauth.ts";
import { str, u32 } from "../../src/ssh/wire.ts";
import {
  askService,
  connectAuthenticated,
  connectRaw,
  openRawSession,
  type RawPeer,
} from "../fixtures/raw_ssh.ts";
import {
  connectTo,
  createIdentities,
  HOST_NAME,
  readAll,
  serveSsh,
  USER_NAME,
} from "../fixtures/ssh.ts";
import { usedMemory } from "../fixtures/memory.ts";
import { randomFrom, seeds } from "./seeds.ts";

type Random = (below: number) => number;

const ids = createIdentities();
const critical = new Map([["openbox-account@openbox.io", "acc_1"], [
  "openbox-node@openbox.io",
  HOST_NAME,
]]);
const certificate = ids.userCertificate({ critical });
const commands: string[] = [];

const serve = () =>
  serveSsh(ids, async (channel) => {
    if (channel.request.kind === "exec") commands.push(text(channel.request.command));
    await channel.end({ kind: "exit", code: 0 });
  }, {
    authenticate({ username, certificate, remoteAddress }) {
      try {
        verifyUserCert(certificate, {
          authorities: [ids.userCa],
          username,
          accountId: "acc_1",
          nodeId: HOST_NAME,
          now: Date.now(),
          remoteAddress,
        });
        return { accept: true, proof: username };
      } catch {
        return { accept: false, reason: "refused" };
      }
    },
  });

/** Bytes changed, cut, repeated or put in; the message type mostly stays. */
function mutate(message: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = Uint8Array.from(message);
  for (let changes = 1 + random(3); changes > 0 && bytes.length > 1; changes--) {
    const at = random(8) === 0 ? 0 : 1 + random(bytes.length - 1), length = 1 + random(8);
    switch (random(4)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 2:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from([0xff, 0xff, 0xff, 0xff]),
          bytes.subarray(at + 4),
        ]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    }
  }
  return bytes;
}

const byte = (value: number) => Buffer.from([value]);
const KEEPALIVE = Buffer.concat([
  byte(MESSAGE.GLOBAL_REQUEST),
  str("keepalive@openssh.com"),
  byte(1),
]);

/** Asks whether the certificate would do: always answered, costs no try, so it shows that what came before was dealt with. */
const PROBE = Buffer.concat([
  byte(MESSAGE.USERAUTH_REQUEST),
  str(USER_NAME),
  str("ssh-connection"),
  str("publickey"),
  byte(0),
  str(CERT_TYPE),
  str(certificate),
]);

/** A message of the connection protocol that is right, before it is mutated. */
function channelMessage(random: Random, channel: number): Uint8Array {
  const id = u32(random(4) === 0 ? random(70) : channel);
  const request = (type: string, ...fields: Uint8Array[]) =>
    Buffer.concat([byte(MESSAGE.CHANNEL_REQUEST), id, str(type), byte(random(2)), ...fields]);
  const messages = [
    () =>
      Buffer.concat([
        byte(MESSAGE.CHANNEL_OPEN),
        str("session"),
        u32(random(9)),
        u32(2 ** 20),
        u32(32768),
      ]),
    () => Buffer.concat([byte(MESSAGE.CHANNEL_DATA), id, str("some data")]),
    () => Buffer.concat([byte(MESSAGE.CHANNEL_EXTENDED_DATA), id, u32(1), str("some data")]),
    () =>
      Buffer.concat([
        byte(MESSAGE.CHANNEL_WINDOW_ADJUST),
        id,
        u32(random(2) === 0 ? 0xffffffff : 5),
      ]),
    () => Buffer.concat([byte(MESSAGE.CHANNEL_EOF), id]),
    () => Buffer.concat([byte(MESSAGE.CHANNEL_CLOSE), id]),
    () => Buffer.concat([byte(MESSAGE.CHANNEL_SUCCESS), id]),
    () => Buffer.concat([byte(MESSAGE.CHANNEL_OPEN_CONFIRMATION), id, u32(1), u32(2), u32(3)]),
    () =>
      Buffer.concat([
        byte(MESSAGE.GLOBAL_REQUEST),
        str("tcpip-forward"),
        byte(1),
        str("0.0.0.0"),
        u32(0),
      ]),
    () => request("env", str("LANG"), str("C")),
    () => request("pty-req", str("xterm"), u32(80), u32(24), u32(0), u32(0), str("")),
    () => request("signal", str("TERM")),
    () => request("eow@openssh.com"),
    () => request("subsystem", str("openbox-run@openbox.io")),
  ];
  return messages[random(messages.length)]!();
}

/** Sends it and waits until the server has dealt with it: an answer to a keepalive, or the end. */
async function probe(peer: RawPeer, message: Uint8Array): Promise<void> {
  peer.protocol.send(message);
  peer.protocol.send(KEEPALIVE);
  for (
    let answer = await peer.next();
    answer && answer[0] !== MESSAGE.REQUEST_FAILURE;
    answer = await peer.next()
  );
}

Deno.test("SSH-17: 2,500 mutated messages before authentication let nobody in", async () => {
  await using server = await serve();
  let sent = 0;
  for (const seed of seeds("packets", 25)) {
    const random = randomFrom(seed);
    for (let i = 0; i < 100;) {
      await using peer = await connectRaw(server.port);
      askService(peer);
      await peer.next();
      for (; i < 100 && !peer.socket.destroyed; i++, sent++) {
        // as often a forged certificate with a right signature as a right certificate in a broken request
        const forged = random(2) === 0 ? mutate(certificate, random) : certificate;
        const request = authRequest(USER_NAME, forged, ids.user, peer.protocol.sessionId);
        const message = forged === certificate ? mutate(request, random) : request;
        if (Buffer.from(forged).equals(certificate) && Buffer.from(message).equals(request)) {
          continue;
        }
        peer.protocol.send(message);
        peer.protocol.send(PROBE);
        for (
          let answer = await peer.next();
          answer && answer[0] !== MESSAGE.USERAUTH_PK_OK;
          answer = await peer.next()
        ) {
          assert.notEqual(
            answer[0],
            MESSAGE.USERAUTH_SUCCESS,
            `seed ${seed}, message ${i}: ${Buffer.from(message).toString("hex")}`,
          );
        }
      }
    }
  }
  assert.ok(sent >= 2300, `${sent}`);
  assert.equal(commands.length, 0);
  await using connection = await connectTo(server.port, ids, { certificate });
  await using channel = await connection.openExec("still here");
  await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
  assert.deepEqual([commands, await channel.exit], [["still here"], { kind: "exit", code: 0 }]);
});

Deno.test("SSH-17: 2,500 mutated messages after authentication run nothing and end at most their connection", async () => {
  await using server = await serve();
  commands.length = 0;
  let sent = 0, connections = 0, before = 0;
  for (const seed of seeds("packets", 25)) {
    const random = randomFrom(seed);
    for (let i = 0; i < 100;) {
      await using peer = await connectAuthenticated(server.port, {
        ...ids,
        userCertificate: () => certificate,
      });
      const channel = await openRawSession(peer);
      connections++;
      for (; i < 100 && !peer.socket.destroyed; i++, sent++) {
        await probe(peer, mutate(channelMessage(random, channel), random));
      }
    }
    if (connections > 200 && before === 0) before = await usedMemory();
  }
  assert.equal(sent, 2500);
  assert.deepEqual(commands, []);
  assert.ok(connections > 100, `${connections}`);
  const grown = await usedMemory() - before;
  assert.ok(grown < 2 * 2 ** 20, `grew by ${grown} bytes over ${connections} connections`);
  await using connection = await connectTo(server.port, ids, { certificate });
  await using last = await connection.openExec("still here");
  await Promise.all([readAll(last.stdout), readAll(last.stderr)]);
  assert.deepEqual(await last.exit, { kind: "exit", code: 0 });
});

Deno.test("the unmutated request of these tests is let in, so that they prove something", async () => {
  await using server = await serve();
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  peer.protocol.send(authRequest(USER_NAME, certificate, ids.user, peer.protocol.sessionId));
  assert.equal((await peer.next())?.[0], MESSAGE.USERAUTH_SUCCESS);
});
