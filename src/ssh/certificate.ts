/**
 * OpenSSH ed25519 certificates (PROTOCOL.certkeys): written as `ssh-keygen -s` writes them, read more
 * strictly than sshd reads them. Reading proves nothing: who may be believed is `ca/verifier.ts`.
 */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import {
  KEY_TYPE,
  parsePublicBlob,
  type PrivateKey,
  type PublicKey,
  publicKey,
  signBytes,
  splitLine,
  verifyBytes,
} from "./key.ts";
import { MalformedError, Reader, str, u32, u64 } from "./wire.ts";

export const CERT_TYPE = "ssh-ed25519-cert-v01@openssh.com";

export type CertificateKind = "user" | "host";
const KIND = { user: 1, host: 2 } as const;

/** What is certified. Times are epoch seconds, from the first to before the second. */
export interface CertificateFields {
  readonly kind: CertificateKind;
  readonly key: PublicKey;
  readonly serial: bigint;
  readonly keyId: string;
  readonly principals: readonly string[];
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  /** Name → value; the empty value is the empty string on the wire, another is nested in one more. */
  readonly critical: ReadonlyMap<string, string>;
  readonly extensions: ReadonlyMap<string, string>;
}

/** A certificate as read: its fields, who claims to have signed it, and what that signature covers. */
export interface Certificate extends CertificateFields {
  readonly blob: Uint8Array;
  readonly authority: PublicKey;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** The certificate's bytes, signed by `authority`. `nonce` is given only to reproduce one. */
export function signCertificate(
  fields: CertificateFields,
  authority: PrivateKey,
  nonce: Uint8Array = randomBytes(32),
): Uint8Array {
  const signed = Buffer.concat([
    str(CERT_TYPE),
    str(nonce),
    str(fields.key.raw),
    u64(fields.serial),
    u32(KIND[fields.kind]),
    str(fields.keyId),
    str(Buffer.concat(fields.principals.map(str))),
    u64(fields.validAfter),
    u64(fields.validBefore),
    str(encodeOptions(fields.critical)),
    str(encodeOptions(fields.extensions)),
    str(""), // reserved
    str(authority.blob),
  ]);
  const signature = Buffer.concat([str(KEY_TYPE), str(signBytes(signed, authority))]);
  return new Uint8Array(Buffer.concat([signed, str(signature)]));
}

/** Sorted by name, as the format demands. */
function encodeOptions(options: ReadonlyMap<string, string>): Buffer {
  const names = [...options.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return Buffer.concat(names.flatMap((name) => {
    const value = options.get(name)!;
    return [str(name), value === "" ? str("") : str(str(value))];
  }));
}

/** `ssh-ed25519-cert-v01@openssh.com AAAA… comment`, without newline. */
export const certificateLine = (blob: Uint8Array, comment = ""): string =>
  `${CERT_TYPE} ${Buffer.from(blob).toString("base64")}${comment && ` ${comment}`}`;

/** The bytes of a certificate in authorized_keys form. */
export function parseCertificateLine(line: string): Uint8Array {
  const { type, blob } = splitLine(line);
  if (type !== CERT_TYPE) throw new MalformedError(`type ${type}, wanted ${CERT_TYPE}`);
  return blob;
}

/** A certificate is some hundred bytes; one beyond this is refused unread. */
const MAX_BLOB = 16 * 1024, MAX_PRINCIPALS = 256;

/** Reads a certificate. MalformedError for other types and whatever is truncated, left over, unsorted or repeated. */
export function parseCertificate(blob: Uint8Array): Certificate {
  if (blob.length > MAX_BLOB) throw new MalformedError("certificate too long");
  const reader = new Reader(blob);
  const type = reader.text();
  if (type !== CERT_TYPE) throw new MalformedError(`type ${type}, wanted ${CERT_TYPE}`);
  reader.bytes(); // nonce
  const key = publicKey(new Uint8Array(reader.bytes()));
  const serial = reader.u64(), kind = parseKind(reader.u32()), keyId = reader.text();
  const principals = parsePrincipals(reader.bytes());
  const validAfter = reader.u64(), validBefore = reader.u64();
  const critical = parseOptions(reader.bytes()), extensions = parseOptions(reader.bytes());
  if (reader.bytes().length !== 0) throw new MalformedError("the reserved field is not empty");
  const authority = parsePublicBlob(reader.bytes());
  const signed = blob.subarray(0, reader.at);
  const signature = parseSignature(reader.bytes());
  reader.end();
  return {
    blob,
    kind,
    key,
    serial,
    keyId,
    principals,
    validAfter,
    validBefore,
    critical,
    extensions,
    authority,
    signed,
    signature,
  };
}

function parseKind(kind: number): CertificateKind {
  if (kind === KIND.user) return "user";
  if (kind === KIND.host) return "host";
  throw new MalformedError(`certificate kind ${kind}`);
}

function parsePrincipals(bytes: Uint8Array): string[] {
  const out: string[] = [];
  for (const reader = new Reader(bytes); !reader.done;) {
    if (out.length === MAX_PRINCIPALS) throw new MalformedError("too many principals");
    out.push(reader.text());
  }
  return out;
}

function parseOptions(bytes: Uint8Array): Map<string, string> {
  const out = new Map<string, string>();
  let last: Buffer | undefined;
  for (const reader = new Reader(bytes); !reader.done;) {
    const name = reader.text(), data = reader.bytes();
    const raw = Buffer.from(name);
    // sorted and without doubles, so that no two readers can take different ones
    if (last && Buffer.compare(raw, last) <= 0) throw new MalformedError("options out of order");
    last = raw;
    out.set(name, data.length === 0 ? "" : parseOptionValue(data));
  }
  return out;
}

function parseOptionValue(data: Uint8Array): string {
  const reader = new Reader(data);
  const value = reader.text();
  reader.end();
  return value;
}

/** The 64 bytes of `string "ssh-ed25519"`, `string signature`. */
export function parseSignature(bytes: Uint8Array): Uint8Array {
  const reader = new Reader(bytes);
  if (reader.text() !== KEY_TYPE) throw new MalformedError("another signature type");
  const signature = reader.bytes();
  reader.end();
  if (signature.length !== 64) throw new MalformedError("an ed25519 signature has 64 bytes");
  return new Uint8Array(signature);
}

/** Whether the authority that the certificate names really signed it; whether it is ours is another question. */
export const isSignedByItsAuthority = (certificate: Certificate): boolean =>
  verifyBytes(certificate.signed, certificate.signature, certificate.authority);
