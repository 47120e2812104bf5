/**
 * The enrollment token's text, and the proof that whoever registers a host key holds its private half
 * (docs/protocol.md › register). The agent signs, the control plane verifies. The fingerprint is part
 * of what is signed, so that a proof made for one CA is none for another.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { fromBase64, toBase64 } from "../bytes.ts";
import { Secret } from "../secret.ts";
import { type PrivateKey, type PublicKey, signBytes, verifyBytes } from "../ssh/key.ts";

export interface EnrollToken {
  /** What is hashed and looked up: the text between `enroll_` and the dot. */
  readonly secret: Secret;
  /** Of the CA that the agent must meet, as `caFingerprint` writes it: `SHA256:…`. */
  readonly fingerprint: string;
}

const PREFIX = "enroll_", HASH = "SHA256:";
const FORM = /^enroll_([A-Za-z0-9]{1,128})\.([A-Za-z0-9_-]{43})$/;

/** `enroll_<secret>.<fingerprint in base64url>` */
export const formatEnrollToken = ({ secret, fingerprint }: EnrollToken): Secret =>
  new Secret(
    `${PREFIX}${secret.reveal()}.${
      fingerprint.slice(HASH.length).replaceAll("+", "-").replaceAll("/", "_")
    }`,
  );

/** Undefined for what has not the form of a token; whether it is one only the control plane knows. */
export function parseEnrollToken(text: string): EnrollToken | undefined {
  const [, secret, fingerprint] = FORM.exec(text) ?? [];
  if (!secret || !fingerprint) return undefined;
  return {
    secret: new Secret(secret),
    fingerprint: HASH + fingerprint.replaceAll("-", "+").replaceAll("_", "/"),
  };
}

/** base64 of the host key's signature. */
export const signEnrollProof = (token: EnrollToken, hostKey: PrivateKey): string =>
  toBase64(signBytes(provenBytes(token, hostKey), hostKey));

/** False for whatever is not that; never throws for bad input. */
export function verifyEnrollProof(proof: string, token: EnrollToken, hostKey: PublicKey): boolean {
  const signature = fromBase64(proof);
  return signature !== undefined && verifyBytes(provenBytes(token, hostKey), signature, hostKey);
}

/** `openbox-enroll-v1` NUL sha256(secret) ‖ fingerprint ‖ host key blob */
const provenBytes = ({ secret, fingerprint }: EnrollToken, hostKey: PublicKey): Uint8Array =>
  Buffer.concat([
    Buffer.from("openbox-enroll-v1\0"),
    createHash("sha256").update(secret.reveal()).digest(),
    Buffer.from(fingerprint.slice(HASH.length), "base64"),
    hostKey.blob,
  ]);
