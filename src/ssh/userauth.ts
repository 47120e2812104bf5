/**
 * Authentication by user certificate, and by nothing else (RFC 4252 §7): what the server decides of each
 * request and what the client sends. A request counts only with a signature by the key that its own
 * certificate names (CVE-2024-45337: a probe with one key, a signature by another).
 */
import { Buffer } from "node:buffer";
import { CERT_TYPE, type Certificate, parseCertificate, parseSignature } from "./certificate.ts";
import { KEY_TYPE, type PrivateKey, signBytes, verifyBytes } from "./key.ts";
import { MESSAGE } from "./messages.ts";
import { excerpt, MalformedError, Reader, str } from "./wire.ts";

export const USERAUTH_SERVICE = "ssh-userauth";
const CONNECTION_SERVICE = "ssh-connection";

/** What a request amounts to, before anybody is asked whether the certificate may be believed. */
export type AuthAttempt =
  /** `none`: how a client learns the methods. Costs nothing the first time. */
  | { readonly kind: "none" }
  /** Would this certificate do? It proves nothing. */
  | { readonly kind: "probe"; readonly certificate: Uint8Array }
  /** The peer holds the certified key. */
  | { readonly kind: "proved"; readonly username: string; readonly certificate: Uint8Array }
  /** `reason` is for a log: short, whatever the peer sent. */
  | { readonly kind: "failed"; readonly reason: string };

/**
 * Reads the fields of a USERAUTH_REQUEST (`payload` with its type). MalformedError where it breaks the
 * protocol; whatever is only wrong is `failed`.
 */
export function readAuthRequest(payload: Buffer, sessionId: Uint8Array): AuthAttempt {
  const fields = new Reader(payload.subarray(1));
  const username = fields.text(), service = fields.text(), method = fields.text();
  if (service !== CONNECTION_SERVICE) {
    throw new MalformedError("another service than ssh-connection");
  }
  if (method === "none") return { kind: "none" };
  if (method !== "publickey") return { kind: "failed", reason: `method ${excerpt(method)}` };
  const signed = fields.byte() !== 0, algorithm = fields.text(), blob = fields.bytes();
  if (algorithm !== CERT_TYPE) {
    return { kind: "failed", reason: `key type ${excerpt(algorithm)}` };
  }
  const certificate = readCertificate(blob);
  if (!certificate) return { kind: "failed", reason: "a certificate that cannot be read" };
  if (!signed) {
    fields.end();
    return { kind: "probe", certificate: certificate.blob };
  }
  const covered = payload.subarray(0, 1 + fields.at);
  const field = fields.bytes();
  fields.end();
  const signature = readSignature(field);
  const message = Buffer.concat([str(sessionId), covered]);
  if (!signature || !verifyBytes(message, signature, certificate.key)) {
    return { kind: "failed", reason: "a signature that is not the certified key's" };
  }
  return { kind: "proved", username, certificate: certificate.blob };
}

function readCertificate(blob: Uint8Array): Certificate | undefined {
  try {
    return parseCertificate(new Uint8Array(blob));
  } catch {
    return undefined;
  }
}

function readSignature(field: Uint8Array): Uint8Array | undefined {
  try {
    return parseSignature(field);
  } catch {
    return undefined;
  }
}

/** The server's yes to a probe. */
export const probeAnswer = (certificate: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([MESSAGE.USERAUTH_PK_OK]), str(CERT_TYPE), str(certificate)]);

/** The server's no: only publickey can go on. */
export const failureAnswer = (): Buffer =>
  Buffer.concat([Buffer.from([MESSAGE.USERAUTH_FAILURE]), str("publickey"), Buffer.from([0])]);

/** One line for the person at the other end, before a failure (RFC 4252 §5.4). */
export const bannerMessage = (line: string): Buffer =>
  Buffer.concat([Buffer.from([MESSAGE.USERAUTH_BANNER]), str(`${line}\r\n`), str("")]);

/** The client's one request, signed, without asking first. */
export function authRequest(
  username: string,
  certificate: Uint8Array,
  key: PrivateKey,
  sessionId: Uint8Array,
): Buffer {
  const request = Buffer.concat([
    Buffer.from([MESSAGE.USERAUTH_REQUEST]),
    str(username),
    str(CONNECTION_SERVICE),
    str("publickey"),
    Buffer.from([1]),
    str(CERT_TYPE),
    str(certificate),
  ]);
  const signature = signBytes(Buffer.concat([str(sessionId), request]), key);
  return Buffer.concat([request, str(Buffer.concat([str(KEY_TYPE), str(signature)]))]);
}
