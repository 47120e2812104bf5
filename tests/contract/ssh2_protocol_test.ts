/**
 * What src/ssh/ssh2_protocol.ts takes for granted of ssh2's inside. A new version of ssh2 that moves one of
 * these fails here, by name, before it fails in the field.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import Ssh2Protocol from "ssh2/lib/protocol/Protocol.js";
import manifest from "ssh2/package.json" with { type: "json" };
import { CERT_TYPE, parseCertificate } from "../../src/ssh/certificate.ts";
import { ChaChaPolyCipher, ChaChaPolyDecipher } from "../../src/ssh/chacha20_poly1305.ts";
import { generateKey, type PublicKey } from "../../src/ssh/key.ts";
import { MESSAGE } from "../../src/ssh/messages.ts";
import {
  createProtocol,
  type HostIdentity,
  type Protocol,
  protocolReady,
} from "../../src/ssh/ssh2_protocol.ts";
import { str } from "../../src/ssh/wire.ts";
import { createIdentities } from "../fixtures/ssh.ts";

await protocolReady();
const ids = createIdentities();

interface Pair {
  readonly server: Protocol;
  readonly client: Protocol;
  readonly fromClient: Buffer[];
  readonly fromServer: Buffer[];
  /** Key exchanges completed, by end, each with whether it was strict. */
  readonly keys: { readonly server: boolean[]; readonly client: boolean[] };
  readonly errors: string[];
  /** Carries bytes both ways until nobody has any, like a wire without delay. */
  settle(): void;
}

/** Two ends of one connection without a socket between. */
function connect(
  identity: HostIdentity,
  verifyHost: (certificate: Uint8Array) => PublicKey = (blob) => parseCertificate(blob).key,
): Pair {
  const toServer: Uint8Array[] = [], toClient: Uint8Array[] = [];
  const fromClient: Buffer[] = [],
    fromServer: Buffer[] = [],
    keys = { server: [] as boolean[], client: [] as boolean[] },
    errors: string[] = [];
  const events = (end: "server" | "client", wire: Uint8Array[], messages: Buffer[]) => ({
    onWrite: (bytes: Uint8Array) => void wire.push(new Uint8Array(bytes)),
    onMessage: (payload: Buffer) => void messages.push(Buffer.from(payload)),
    onKeys: ({ strict }: { strict: boolean }) => void keys[end].push(strict),
    onDisconnect: (reason: number) => void errors.push(`disconnect ${reason}`),
    onError: (error: Error) => void errors.push(error.message),
  });
  const server = createProtocol(
    { kind: "server", identity },
    events("server", toClient, fromClient),
  );
  const client = createProtocol(
    { kind: "client", verifyHost },
    events("client", toServer, fromServer),
  );
  const settle = () => {
    while (toServer.length + toClient.length > 0) {
      for (const [wire, to] of [[toServer, server], [toClient, client]] as const) {
        const bytes = Buffer.concat(wire.splice(0));
        if (bytes.length === 0) continue;
        try {
          to.feed(bytes);
        } catch (error) {
          errors.push((error as Error).message);
        }
      }
    }
  };
  server.start();
  client.start();
  settle();
  return { server, client, fromClient, fromServer, keys, errors, settle };
}

const good = (): HostIdentity => ({ key: ids.host, certificate: ids.hostCertificate() });

Deno.test("the pinned version of ssh2 is installed", () => {
  assert.equal(manifest.version, "1.17.0");
});

Deno.test("ssh2's Protocol has the fields that we reach for", () => {
  const events = { onWrite: () => {}, onError: () => {} };
  const protocol = new Ssh2Protocol({ server: true, hostKeys: {}, ...events });
  for (const name of ["_onPayload", "_packetRW", "_hostKeys", "_cipher"]) {
    assert.ok(protocol[name], name);
  }
  for (const name of ["alloc", "finalize"]) {
    assert.equal(typeof protocol._packetRW.write[name], "function", name);
  }
  assert.equal(typeof protocol._packetRW.write.allocStart, "number");
  assert.ok("_strictMode" in protocol && "_decipher" in protocol && "_kex" in protocol);
});

Deno.test("both ends agree on keys with the host's certificate inside the exchange, strictly", () => {
  let presented: Uint8Array | undefined;
  const identity = good();
  const { client, server, keys, errors } = connect(identity, (blob) => {
    presented = blob;
    return parseCertificate(blob).key;
  });
  assert.deepEqual([keys, errors], [{ server: [true], client: [true] }, []]);
  assert.deepEqual(presented, identity.certificate);
  assert.deepEqual(client.sessionId, server.sessionId);
});

Deno.test("messages of the layers above arrive byte for byte, in both directions", () => {
  const pair = connect(good());
  const strange = Buffer.from([MESSAGE.CHANNEL_REQUEST, 0, 0, 0, 0, 0xff, 0xfe, 0, 1]);
  pair.client.send(strange.subarray(0, 3), strange.subarray(3));
  pair.server.send(strange);
  pair.settle();
  assert.deepEqual(pair.fromClient, [strange]);
  assert.deepEqual(pair.fromServer, [strange]);
});

for (const starter of ["client", "server", "both"] as const) {
  Deno.test(`a key exchange begun by ${starter} changes the keys, keeps the session and loses no message`, () => {
    const pair = connect(good()), session = Buffer.from(pair.client.sessionId);
    if (starter !== "server") pair.client.rekey();
    if (starter !== "client") pair.server.rekey();
    const sent = Array.from(
      { length: 20 },
      (_, i) => Buffer.concat([Buffer.from([MESSAGE.CHANNEL_DATA]), str(`${i}`)]),
    );
    for (const message of sent) {
      pair.client.send(message); // queued while the exchange runs
      pair.server.send(message);
    }
    pair.settle();
    assert.deepEqual(pair.errors, []);
    assert.deepEqual(pair.keys, { server: [true, true], client: [true, true] });
    assert.deepEqual(pair.fromClient, sent);
    assert.deepEqual(pair.fromServer, sent);
    assert.deepEqual(pair.client.sessionId, session);
    pair.client.send(sent[0]!);
    pair.settle();
    assert.equal(pair.fromClient.length, 21);
  });
}

Deno.test("a good certificate with another private key behind it fails the exchange", () => {
  const { keys, errors } = connect({ key: generateKey(), certificate: ids.hostCertificate() });
  assert.equal(keys.client.length, 0, "a client has no keys, so it sends nothing");
  assert.match(errors[0]!, /signature/);
});

Deno.test("a host that the client refuses gets no message", () => {
  const pair = connect(good(), () => {
    throw new Error("not this one");
  });
  assert.equal(pair.keys.client.length, 0);
  assert.equal(pair.errors[0], "not this one");
  assert.equal(pair.fromClient.length, 0);
});

Deno.test("a signature check that was not pointed at the certified key fails closed", () => {
  // the key returned is not the one in the certificate, as if our part of the exchange had not run
  const { keys, errors } = connect(good(), () => generateKey());
  assert.equal(keys.client.length, 0, "a client has no keys, so it sends nothing");
  assert.match(errors[0]!, /signature/);
});

Deno.test("only certificates are taken as host keys by a client, and the server offers one", () => {
  const pair = connect({ key: ids.host, certificate: ids.host.blob });
  assert.equal(pair.keys.client.length, 0);
  assert.ok(pair.errors.length > 0);
  assert.equal(CERT_TYPE, "ssh-ed25519-cert-v01@openssh.com");
});

Deno.test("our cipher is in the place of ssh2's", () => {
  // a round trip through the classes as the protocol uses them, in pieces of every size
  const keys = {
    main: crypto.getRandomValues(new Uint8Array(32)),
    length: crypto.getRandomValues(new Uint8Array(32)),
  };
  const wire: Uint8Array[] = [], opened: string[] = [];
  const cipher = new ChaChaPolyCipher(keys, 0xffffffff, (bytes) => wire.push(bytes));
  const texts = ["", "a", "x".repeat(32_000), "end"];
  for (const text of texts) {
    const packet = cipher.allocPacket(text.length);
    packet.write(text, 5);
    cipher.encrypt(packet);
  }
  assert.equal(cipher.outSeqno, 3, "the sequence number wraps");
  const bytes = Buffer.concat(wire);
  for (const step of [1, 3, 16, 17, 4096, bytes.length]) {
    opened.length = 0;
    const decipher = new ChaChaPolyDecipher(
      keys,
      0xffffffff,
      (payload) => void opened.push(payload.toString()),
    );
    for (let at = 0; at < bytes.length; at += step) {
      const part = bytes.subarray(at, at + step);
      decipher.decrypt(part, 0, part.length);
    }
    assert.deepEqual(opened, texts, `in steps of ${step}`);
  }
  const broken = Buffer.from(bytes);
  broken[20]! ^= 1;
  const decipher = new ChaChaPolyDecipher(keys, 0xffffffff, () => assert.fail("opened"));
  assert.throws(() => decipher.decrypt(broken, 0, broken.length), /Invalid MAC|Bad packet length/);
});
