/**
 * Everything that openbox touches of ssh2, in one place. ssh2 gives the transport layer (RFC 4253: key
 * exchange, ciphers, packets); authentication and channels are ours (userauth.ts, connection.ts). Beside
 * its `Protocol` class we reach for these internals, pinned to 1.17.0 and tried by
 * tests/contract/ssh2_protocol_test.ts:
 *
 * - `_onPayload`, read anew after each key exchange: takes messages before ssh2 parses them, byte-exact;
 * - `_packetRW.write` and `utils.sendPacket`: send any message, queued while a key exchange runs;
 * - `_kex.sessionID`, `_kex.negotiated.serverHostKey`, `_kex.getPublicKey`, `_hostKeys`: certificates as
 *   host keys, which ssh2 does not know;
 * - `_cipher`, `_decipher` and the keys in them: replaced by ours (chacha20_poly1305.ts);
 * - `_strictMode`: whether the peer takes part in strict key exchange.
 *
 * If one of them moves, no handshake completes: the trust decision itself is in `verifyHost`, and ssh2
 * reports a wrong signature type or a failed signature without our part.
 */
import { Buffer } from "node:buffer";
import { init as ssh2CryptoReady } from "ssh2/lib/protocol/crypto.js";
import Ssh2Protocol from "ssh2/lib/protocol/Protocol.js";
import { sendPacket } from "ssh2/lib/protocol/utils.js";
import { ChaChaPolyCipher, ChaChaPolyDecipher, cipherReady } from "./chacha20_poly1305.ts";
import { CERT_TYPE } from "./certificate.ts";
import { KEY_TYPE, type PrivateKey, type PublicKey, signBytes } from "./key.ts";
import { MESSAGE } from "./messages.ts";

/** Begins with `OpenSSH_`: to another name OpenSSH's client sends no `eow@openssh.com`, and `ssh box yes | head` hangs. */
export const IDENT = "OpenSSH_9.9 openbox";

const CIPHERS = [
  "chacha20-poly1305@openssh.com", // first: three times as fast as AES on Deno
  "aes128-gcm@openssh.com",
  "aes256-gcm@openssh.com",
];
/** AEAD ciphers bring their own; ssh2 wants the list filled, and OpenSSH one that matches. */
const MACS = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];
const DIRECTION = { cipher: CIPHERS, mac: MACS, compress: ["none"], lang: [] };
/** ssh2 appends the markers of strict key exchange. No NIST curves: their parameters cannot be explained. */
const KEX = ["curve25519-sha256", "curve25519-sha256@libssh.org"];

/** A node's key and the certificate that vouches for it. */
export interface HostIdentity {
  readonly key: PrivateKey;
  readonly certificate: Uint8Array;
}

export type Role =
  | { readonly kind: "server"; readonly identity: HostIdentity }
  /** `verifyHost` returns the key that the certificate vouches for, or throws to refuse. */
  | { readonly kind: "client"; readonly verifyHost: (certificate: Uint8Array) => PublicKey };

export interface ProtocolEvents {
  /** Bytes for the peer; several calls a packet. */
  onWrite(bytes: Uint8Array): void;
  /** A whole message of the layers above, its first byte the type. The buffer is the receiver's to keep. */
  onMessage(payload: Buffer): void;
  /** A key exchange is complete; `strict` says whether it was a strict one. The first opens the layers above. */
  onKeys(keys: { readonly strict: boolean }): void;
  /** The peer said DISCONNECT (RFC 4253 §11.1). */
  onDisconnect(reason: number, text: string): void;
  /** The connection cannot go on; ssh2 has said so to the peer where it could. */
  onError(error: Error): void;
}

export interface Protocol {
  /** Whether the peer's version line was read, and was one of SSH 2. */
  readonly peerSpoke: boolean;
  /**
   * The most data that the peer may put into one packet, once there are keys: twice the usual where our own
   * cipher reads them, which saves a quarter of the work; ssh2's take 35,000 bytes.
   */
  readonly maxData: number;
  /** Of the first key exchange, once `onKeys` was called (RFC 4253 §7.2). */
  readonly sessionId: Buffer;
  /** Sends our version line. A server that sent its own does not call it. */
  start(): void;
  /** What came from the socket. Throws for whatever cannot be a packet. */
  feed(bytes: Uint8Array): void;
  /** Sends one message made of these parts. */
  send(...parts: readonly Uint8Array[]): void;
  /** Begins a key exchange; nothing happens while one runs. Never before authentication: OpenSSH drops the connection. */
  rekey(): void;
  disconnect(reason: number): void;
  /** Nothing is taken or sent any more. */
  free(): void;
}

/** Resolves when ssh2's cipher code is loaded; await it before the first `createProtocol`. */
export async function protocolReady(): Promise<void> {
  await Promise.all([ssh2CryptoReady, cipherReady()]);
}

export function createProtocol(role: Role, events: ProtocolEvents): Protocol {
  let peerSpoke = false;
  const ssh2: Ssh2 = new Ssh2Protocol({
    server: role.kind === "server",
    ident: IDENT,
    offer: {
      kex: KEX,
      // a bare key serves stock clients that have the node's key by other means; our own takes only certificates
      serverHostKey: role.kind === "server" ? [CERT_TYPE, KEY_TYPE] : [CERT_TYPE],
      cs: DIRECTION,
      sc: DIRECTION,
    },
    hostKeys: role.kind === "server" ? {} : undefined,
    hostVerifier: role.kind === "client"
      ? (blob: Uint8Array) => presentsCertificate(ssh2, role, blob, events.onError)
      : undefined,
    onWrite: events.onWrite,
    onError: events.onError,
    onHeader: () => peerSpoke = true,
    onHandshakeComplete: () => events.onKeys({ strict: ssh2._strictMode === true }),
    messageHandlers: {
      DISCONNECT: (_: unknown, reason: number, text: string) => events.onDisconnect(reason, text),
    },
  });
  if (role.kind === "server") ssh2._hostKeys = hostKeys(ssh2, role.identity);

  useOwnCiphers(ssh2);

  const transportPayload = ssh2._onPayload;
  ssh2._onPayload = (payload: Buffer) => {
    const type = payload[0];
    const ours = type === MESSAGE.SERVICE_REQUEST || type === MESSAGE.SERVICE_ACCEPT ||
      type !== undefined && type >= MESSAGE.USERAUTH_REQUEST;
    return ours ? events.onMessage(payload) : transportPayload(payload);
  };

  return {
    get peerSpoke() {
      return peerSpoke;
    },
    get maxData() {
      return ssh2._decipher instanceof ChaChaPolyDecipher ? 64 * 1024 : 32 * 1024;
    },
    get sessionId() {
      return ssh2._kex.sessionID;
    },
    start: () => ssh2.start?.(),
    feed: (bytes) =>
      ssh2.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length),
    send(...parts) {
      const { write } = ssh2._packetRW;
      let at = write.allocStart;
      const packet = write.alloc(parts.reduce((sum, part) => sum + part.length, 0));
      for (const part of parts) {
        packet.set(part, at);
        at += part.length;
      }
      sendPacket(ssh2, write.finalize(packet));
    },
    rekey: () => ssh2.rekey(),
    disconnect: (reason) => ssh2.disconnect(reason),
    free: () => ssh2.cleanup(),
  };
}

/** Puts our ChaCha20-Poly1305 in the place of ssh2's, whenever a key exchange makes one. */
function useOwnCiphers(ssh2: Ssh2): void {
  let { _cipher: cipher, _decipher: decipher } = ssh2;
  Object.defineProperties(ssh2, {
    _cipher: {
      get: () => cipher,
      set(made: Ssh2Cipher) {
        cipher = "_encKeyMain" in made
          ? new ChaChaPolyCipher(
            { main: made._encKeyMain, length: made._encKeyPktLen },
            made.outSeqno,
            made._onWrite,
          )
          : made;
      },
    },
    _decipher: {
      get: () => decipher,
      set(made: Ssh2Decipher) {
        decipher = "_decKeyMain" in made
          ? new ChaChaPolyDecipher(
            { main: made._decKeyMain, length: made._decKeyPktLen },
            made.inSeqno,
            made._onPayload,
          )
          : made;
      },
    },
  });
}

/** Server: K_S is the certificate, but the signature over the exchange is named by the plain key type. */
function hostKeys(ssh2: Ssh2, { key, certificate }: HostIdentity): Record<string, HostKey> {
  const present = (type: string, blob: Uint8Array): HostKey => ({
    type,
    getPublicSSH: () => Buffer.from(blob),
    sign: (bytes) => Buffer.from(signBytes(bytes, key)),
  });
  const certified = present(CERT_TYPE, certificate);
  return {
    [KEY_TYPE]: present(KEY_TYPE, key.blob),
    // read when the client's share has arrived, just before the reply is signed and named
    get [CERT_TYPE]() {
      ssh2._kex.negotiated.serverHostKey = KEY_TYPE;
      return certified;
    },
  };
}

/** Client: checks the host's certificate, then points ssh2's own signature check at the certified key. */
function presentsCertificate(
  ssh2: Ssh2,
  role: Extract<Role, { kind: "client" }>,
  blob: Uint8Array,
  onError: (error: Error) => void,
): boolean {
  let key: PublicKey;
  try {
    key = role.verifyHost(new Uint8Array(blob));
  } catch (error) {
    onError(error as Error);
    return false;
  }
  const kex = ssh2._kex;
  kex.negotiated.serverHostKey = KEY_TYPE;
  // ssh2 hashes K_S (the certificate), then asks for our share, then verifies with `_hostKey`
  const ownShare = kex.getPublicKey;
  kex.getPublicKey = function () {
    const share = ownShare.call(this);
    this._hostKey = Buffer.from(key.blob);
    return share;
  };
  return true;
}

interface HostKey {
  readonly type: string;
  getPublicSSH(): Buffer;
  sign(bytes: Uint8Array): Buffer;
}

/** The part of ssh2's Protocol that is used here; the package has no types for it. */
interface Ssh2 {
  start?: () => void;
  parse(bytes: Buffer, from: number, to: number): void;
  rekey(): void;
  disconnect(reason: number): void;
  cleanup(): void;
  _onPayload: (payload: Buffer) => unknown;
  _hostKeys: Record<string, HostKey>;
  _cipher: Ssh2Cipher | ChaChaPolyCipher;
  _decipher: Ssh2Decipher | ChaChaPolyDecipher;
  readonly _strictMode: boolean | undefined;
  readonly _kex: Kex;
  readonly _packetRW: {
    readonly write: {
      readonly allocStart: number;
      alloc(length: number): Buffer;
      finalize(packet: Buffer): Buffer;
    };
  };
}

type Ssh2Cipher = { readonly outSeqno: number; _onWrite(bytes: Uint8Array): void } | {
  readonly _encKeyMain: Buffer;
  readonly _encKeyPktLen: Buffer;
  readonly outSeqno: number;
  _onWrite(bytes: Uint8Array): void;
};

type Ssh2Decipher = { readonly inSeqno: number } | {
  readonly _decKeyMain: Buffer;
  readonly _decKeyPktLen: Buffer;
  readonly inSeqno: number;
  _onPayload(payload: Buffer): unknown;
};

interface Kex {
  readonly sessionID: Buffer;
  readonly negotiated: { serverHostKey: string };
  _hostKey: Buffer;
  getPublicKey(this: Kex): Buffer;
}
