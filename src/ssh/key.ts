/**
 * ed25519 keys in SSH's forms, over node:crypto: the public blob (RFC 8709), the authorized_keys line,
 * and OpenSSH's private key file, unencrypted (PROTOCOL.key). Other key types are refused.
 */
import { Buffer } from "node:buffer";
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { MalformedError, Reader, str, u32 } from "./wire.ts";

export const KEY_TYPE = "ssh-ed25519";

/** The fixed DER around the 32 bytes of an ed25519 key (RFC 8410). */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

export interface PublicKey {
  /** The 32 bytes of the point. */
  readonly raw: Uint8Array;
  /** `string "ssh-ed25519"`, `string raw`: what fingerprints and certificates are made of. */
  readonly blob: Uint8Array;
}

/**
 * The points of order 1, 2, 4 and 8 in every encoding, sign bit cleared: OpenSSL takes signatures under
 * them that anybody can make (the list is libsodium's, ge25519_has_small_order).
 */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  "00".repeat(32),
  "01" + "00".repeat(31),
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ec" + "ff".repeat(30) + "7f",
  "ed" + "ff".repeat(30) + "7f",
  "ee" + "ff".repeat(30) + "7f",
]);

function withoutSign(raw: Uint8Array): string {
  const copy = Buffer.from(raw);
  copy[31]! &= 0x7f;
  return copy.toString("hex");
}

/** A private key; its material stays in a KeyObject, so that no log can print it. */
export interface PrivateKey extends PublicKey {
  readonly secret: KeyObject;
}

export function publicKey(raw: Uint8Array): PublicKey {
  if (raw.length !== 32) throw new MalformedError("an ed25519 key has 32 bytes");
  if (SMALL_ORDER.has(withoutSign(raw))) throw new MalformedError("a key of small order");
  return { raw, blob: Buffer.concat([str(KEY_TYPE), str(raw)]) };
}

export function generateKey(): PrivateKey {
  return privateKey(generateKeyPairSync("ed25519").privateKey);
}

function privateKey(secret: KeyObject): PrivateKey {
  const spki = createPublicKey(secret).export({ format: "der", type: "spki" });
  return { secret, ...publicKey(new Uint8Array(spki.subarray(-32))) };
}

const fromSeed = (seed: Uint8Array): PrivateKey =>
  privateKey(createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" }));

/** 64 bytes (RFC 8032). */
export const signBytes = (bytes: Uint8Array, key: PrivateKey): Uint8Array =>
  sign(null, bytes, key.secret);

/** False for whatever is not this key's signature over these bytes; never throws for bad input. */
export function verifyBytes(bytes: Uint8Array, signature: Uint8Array, key: PublicKey): boolean {
  if (signature.length !== 64) return false;
  try {
    const spki = createPublicKey({
      key: Buffer.concat([SPKI, key.raw]),
      format: "der",
      type: "spki",
    });
    return verify(null, bytes, spki, signature);
  } catch {
    return false;
  }
}

/** Reads a public blob; anything but exactly one ed25519 key is a MalformedError. */
export function parsePublicBlob(blob: Uint8Array): PublicKey {
  const reader = new Reader(blob);
  const type = reader.text();
  if (type !== KEY_TYPE) throw new MalformedError(`key type ${type}, wanted ${KEY_TYPE}`);
  const raw = reader.bytes();
  reader.end();
  return publicKey(new Uint8Array(raw));
}

/** `ssh-ed25519 AAAA… comment`, without newline. */
export function authorizedLine(key: PublicKey, comment = ""): string {
  return `${KEY_TYPE} ${Buffer.from(key.blob).toString("base64")}${comment && ` ${comment}`}`;
}

/** Reads one authorized_keys line without options: type, base64, optional comment. */
export function parseAuthorizedLine(line: string): PublicKey {
  const { type, blob } = splitLine(line);
  if (type !== KEY_TYPE) throw new MalformedError(`key type ${type}, wanted ${KEY_TYPE}`);
  return parsePublicBlob(blob);
}

/** The type and bytes of a line in authorized_keys form, key or certificate. */
export function splitLine(line: string): { type: string; blob: Uint8Array } {
  const match = /^([A-Za-z0-9@.-]+) ([A-Za-z0-9+/]+={0,2})(?: [^\n]*)?\n?$/.exec(line);
  if (!match) throw new MalformedError("not a key in authorized_keys form");
  const blob = Buffer.from(match[2]!, "base64");
  if (blob.toString("base64") !== match[2]) {
    throw new MalformedError("base64 that is not canonical");
  }
  return { type: match[1]!, blob: new Uint8Array(blob) };
}

/** `SHA256:` and unpadded base64, as ssh-keygen prints it. */
export function fingerprint(...blobs: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const blob of blobs) hash.update(blob);
  return `SHA256:${hash.digest("base64").replace(/=+$/, "")}`;
}

const BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----", END = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC = Buffer.from("openssh-key-v1\0");
/** The cipher `none` still pads the private part to a multiple of 8. */
const BLOCK = 8;

/** OpenSSH's private key file, unencrypted, with its closing newline. Secret text: keep it out of logs. */
export function privatePem(key: PrivateKey, comment = ""): string {
  const seed = key.secret.export({ format: "der", type: "pkcs8" }).subarray(-32);
  const check = randomBytes(4); // twice the same: how a reader of an encrypted file knows the passphrase fits
  const fields = [
    check,
    check,
    str(KEY_TYPE),
    str(key.raw),
    str(Buffer.concat([seed, key.raw])),
    str(comment),
  ];
  const length = fields.reduce((sum, field) => sum + field.length, 0);
  const padding = Buffer.from(
    Array.from({ length: (BLOCK - length % BLOCK) % BLOCK }, (_, i) => i + 1),
  );
  const secret = Buffer.concat([...fields, padding]);
  const file = Buffer.concat([
    MAGIC,
    str("none"),
    str("none"),
    str(""),
    u32(1),
    str(key.blob),
    str(secret),
  ]);
  return [BEGIN, ...file.toString("base64").match(/.{1,70}/g)!, END, ""].join("\n");
}

export interface NamedKey {
  readonly key: PrivateKey;
  readonly comment: string;
}

/** Every private key in `pem`, in order. Text around the blocks is refused, encrypted keys too. */
export function parsePrivatePem(pem: string): NamedKey[] {
  const keys: NamedKey[] = [];
  const rest = pem.replace(/\r\n/g, "\n").replace(
    new RegExp(`${BEGIN}\n([A-Za-z0-9+/=\n]+)\n${END}(?:\n|$)`, "g"),
    (_, body: string) => {
      keys.push(parsePrivateFile(Buffer.from(body.replaceAll("\n", ""), "base64")));
      return "";
    },
  );
  if (rest.trim() !== "") throw new MalformedError("text that is not an OpenSSH private key");
  return keys;
}

function parsePrivateFile(file: Uint8Array): NamedKey {
  if (!MAGIC.equals(file.subarray(0, MAGIC.length))) {
    throw new MalformedError("not an OpenSSH private key");
  }
  const outer = new Reader(file.subarray(MAGIC.length));
  const cipher = outer.text(), kdf = outer.text();
  outer.bytes();
  if (cipher !== "none" || kdf !== "none") throw new MalformedError("the key is encrypted");
  if (outer.u32() !== 1) throw new MalformedError("one key a block is read");
  const shown = parsePublicBlob(outer.bytes());
  const inner = new Reader(outer.bytes());
  outer.end();
  if (inner.u32() !== inner.u32()) throw new MalformedError("the check words differ");
  const type = inner.text();
  if (type !== KEY_TYPE) throw new MalformedError(`key type ${type}, wanted ${KEY_TYPE}`);
  const raw = inner.bytes(), pair = inner.bytes(), comment = inner.text();
  for (let i = 1; !inner.done; i++) {
    if (inner.byte() !== i) throw new MalformedError("wrong padding");
  }
  if (pair.length !== 64) throw new MalformedError("an ed25519 private key has 64 bytes");
  const key = fromSeed(pair.subarray(0, 32));
  const same = [raw, pair.subarray(32), shown.raw].every((half) =>
    Buffer.from(half).equals(key.raw)
  );
  if (!same) throw new MalformedError("the public halves differ");
  return { key, comment };
}
