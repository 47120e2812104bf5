/**
 * Signatures over a file as `ssh-keygen -Y sign` writes them (OpenSSH's PROTOCOL.sshsig), of ed25519 keys.
 * A signature is made for one purpose, its namespace: one over the same bytes for another is refused.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import {
  fingerprint,
  KEY_TYPE,
  parsePublicBlob,
  type PrivateKey,
  type PublicKey,
  signBytes,
  verifyBytes,
} from "./key.ts";
import { MalformedError, Reader, str, u32 } from "./wire.ts";

const MAGIC = Buffer.from("SSHSIG");
const VERSION = 1;
const HASHES = ["sha256", "sha512"];
const BEGIN = "-----BEGIN SSH SIGNATURE-----", END = "-----END SSH SIGNATURE-----";

/** One of an ed25519 key has some 300 characters; what is much longer is none. */
export const MAX_SIGNATURE_LENGTH = 4096;

/** A signature that is none, or not the one that was asked for; the message says which, for a person. */
export class SignatureError extends Error {
  override readonly name = "SignatureError";
}

export interface SignedFor {
  readonly namespace: string;
  /** Whose signature is believed. Of no keys none is. */
  readonly keys: readonly PublicKey[];
}

/** The key, of those that are believed, that signed exactly these bytes for this namespace. Throws SignatureError. */
export function verifySignature(
  message: Uint8Array,
  armored: string,
  { namespace, keys }: SignedFor,
): PublicKey {
  const signature = parseArmored(armored);
  const key = keys.find(({ blob }) => Buffer.from(blob).equals(signature.key.blob));
  if (!key) {
    throw new SignatureError(
      `the signature is by another key, ${fingerprint(signature.key.blob)}`,
    );
  }
  if (namespace === "" || signature.namespace !== namespace) {
    throw new SignatureError(
      `the signature is for another purpose, ${JSON.stringify(signature.namespace.slice(0, 64))}`,
    );
  }
  const signed = toSigned(message, namespace, signature.hash);
  if (!verifyBytes(signed, signature.bytes, key)) {
    throw new SignatureError("the signature is not over these bytes");
  }
  return key;
}

/** As `ssh-keygen -Y sign` would print it: the signatures of an ed25519 key are always the same. */
export function signMessage(message: Uint8Array, namespace: string, key: PrivateKey): string {
  if (namespace === "") throw new TypeError("a signature needs a namespace");
  const hash = "sha512";
  const signature = Buffer.concat([
    str(KEY_TYPE),
    str(signBytes(toSigned(message, namespace, hash), key)),
  ]);
  const blob = Buffer.concat([
    MAGIC,
    u32(VERSION),
    str(key.blob),
    str(namespace),
    str(""),
    str(hash),
    str(signature),
  ]);
  return [BEGIN, ...blob.toString("base64").match(/.{1,70}/g)!, END, ""].join("\n");
}

const toSigned = (message: Uint8Array, namespace: string, hash: string): Uint8Array =>
  Buffer.concat([
    MAGIC,
    str(namespace),
    str(""),
    str(hash),
    str(createHash(hash).update(message).digest()),
  ]);

interface Signature {
  readonly key: PublicKey;
  readonly namespace: string;
  readonly hash: string;
  readonly bytes: Uint8Array;
}

function parseArmored(armored: string): Signature {
  try {
    return parseBlob(unarmor(armored));
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    throw new SignatureError(`it is no signature that can be read: ${cause.message}`, { cause });
  }
}

function unarmor(armored: string): Uint8Array {
  if (armored.length > MAX_SIGNATURE_LENGTH) throw new MalformedError("it is too long");
  const lines = armored.replace(/\r\n/g, "\n").replace(/\n$/, "").split("\n");
  if (lines.shift() !== BEGIN || lines.pop() !== END) {
    throw new MalformedError(`it does not stand between ${BEGIN} and ${END}`);
  }
  const encoded = lines.join("");
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.toString("base64") !== encoded) {
    throw new MalformedError("base64 that is not canonical");
  }
  return bytes;
}

function parseBlob(blob: Uint8Array): Signature {
  if (!MAGIC.equals(blob.subarray(0, MAGIC.length))) throw new MalformedError("no SSHSIG");
  const reader = new Reader(blob.subarray(MAGIC.length));
  if (reader.u32() !== VERSION) throw new MalformedError("a version that is not known");
  const key = parsePublicBlob(reader.bytes());
  const namespace = reader.text();
  // it is not under the signature, so nothing in it may ever mean anything
  if (reader.bytes().length > 0) throw new MalformedError("something reserved is set");
  const hash = reader.text();
  if (!HASHES.includes(hash)) throw new MalformedError("a hash that is not known");
  const inner = new Reader(reader.bytes());
  reader.end();
  if (inner.text() !== KEY_TYPE) throw new MalformedError("a signature of another kind of key");
  const bytes = inner.bytes();
  inner.end();
  return { key, namespace, hash, bytes };
}
