/**
 * What the control plane says to all its nodes at once, signed: the revocation list, the head of the
 * audit log. The operations key does it, which the host CA certifies: it can sign while the CA is sealed,
 * and whoever steals it signs statements and never a certificate.
 *
 * The domain is part of what is signed, so that a statement of one kind is none of another.
 */
import { equalBytes, fromBase64, toBase64, utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { Secret } from "../secret.ts";
import {
  type Certificate,
  certificateLine,
  parseCertificate,
  parseCertificateLine,
} from "../ssh/certificate.ts";
import {
  fingerprint,
  generateKey,
  parsePrivatePem,
  type PrivateKey,
  privatePem,
  type PublicKey,
  signBytes,
  verifyBytes,
} from "../ssh/key.ts";
import { OPERATIONS_CERT_SECONDS, OPERATIONS_PRINCIPAL } from "./names.ts";
import { checkLife, signedBy } from "./verifier.ts";

export type StatementDomain = "openbox-revocations-v1" | "openbox-audit-head-v1";

/** The key and its certificate (`CertAuthority.issueOperationsCert`), which goes with all that it signs. */
export interface OperationsSigner {
  readonly key: PrivateKey;
  readonly certificate: Uint8Array;
}

/** As it travels in JSON and lies in files. Nothing in it is believed before `verifyStatement`. */
export interface SignedStatement {
  /** JSON, in the very bytes that are signed. */
  readonly payload: string;
  /** Of the operations key, in authorized_keys form. */
  readonly certificate: string;
  /** base64 */
  readonly signature: string;
}

declare const verified: unique symbol;

/** A payload that an operations key of our CA signed for this domain. */
export interface VerifiedStatement<D extends StatementDomain> {
  readonly [verified]: D;
  readonly payload: string;
  /** Of the certificate of the key that signed. */
  readonly serial: bigint;
  readonly keyFingerprint: string;
}

export function signStatement(
  { key, certificate }: OperationsSigner,
  domain: StatementDomain,
  payload: string,
): SignedStatement {
  return {
    payload,
    certificate: certificateLine(certificate),
    signature: toBase64(signBytes(signedText(domain, payload), key)),
  };
}

export interface StatementPolicy<D extends StatementDomain> {
  readonly domain: D;
  /** The host CA; several while it is being rotated. None is nobody. */
  readonly authorities: readonly PublicKey[];
  /** Epoch milliseconds. When it must have been good: now, or for a record of the past, then. */
  readonly now: number;
}

/** Throws `cert_refused`, or with the code of the certificate's fault, for whatever is not such a statement. */
export function verifyStatement<D extends StatementDomain>(
  statement: SignedStatement,
  { domain, authorities, now }: StatementPolicy<D>,
): VerifiedStatement<D> {
  const { serial, key } = verifyOperationsCert(statement.certificate, authorities, now);
  const signature = fromBase64(statement.signature);
  if (!signature || !verifyBytes(signedText(domain, statement.payload), signature, key)) {
    throw refused("its signature is wrong");
  }
  return {
    payload: statement.payload,
    serial,
    keyFingerprint: fingerprint(key.blob),
  } as Omit<VerifiedStatement<D>, typeof verified> as VerifiedStatement<D>;
}

function verifyOperationsCert(
  line: string,
  authorities: readonly PublicKey[],
  now: number,
): Certificate {
  let blob: Uint8Array;
  try {
    blob = parseCertificateLine(line);
  } catch (cause) {
    throw refused("its certificate cannot be read", cause);
  }
  const certificate = signedByOne(blob, authorities);
  const { kind, principals, critical, extensions } = certificate;
  if (kind !== "host" || principals.length !== 1 || principals[0] !== OPERATIONS_PRINCIPAL) {
    throw refused("its certificate is not one of an operations key");
  }
  if (critical.size > 0 || extensions.size > 0) {
    throw refused("its certificate has options that no operations key has");
  }
  checkLife(certificate, OPERATIONS_CERT_SECONDS, now);
  return certificate;
}

function signedByOne(blob: Uint8Array, authorities: readonly PublicKey[]): Certificate {
  let failure = refused("no CA is known that could have signed it");
  for (const authority of authorities) {
    try {
      return signedBy(blob, authority);
    } catch (cause) {
      failure = refused((cause as Error).message, cause);
    }
  }
  throw failure;
}

const signedText = (domain: StatementDomain, payload: string): Uint8Array =>
  utf8(`${domain}\0${payload}`);

const refused = (why: string, cause?: unknown): OpenboxError =>
  new OpenboxError("cert_refused", `A statement of the control plane cannot be believed: ${why}`, {
    cause,
  });

/** Whether another is to be asked for: it is past two thirds of its life, another key's, or another CA's. */
export function needsOperationsCert(
  blob: Uint8Array,
  { key, authority, now }: {
    readonly key: PublicKey;
    readonly authority: PublicKey;
    readonly now: number;
  },
): boolean {
  const certificate = parseCertificate(blob);
  if (!equalBytes(certificate.key.blob, key.blob)) return true;
  if (!equalBytes(certificate.authority.blob, authority.blob)) return true;
  const { validAfter, validBefore } = certificate;
  return now / 1000 >= Number(validAfter) + Number(validBefore - validAfter) * 2 / 3;
}

const COMMENT = "openbox-operations";

export const generateOperationsKey = (): PrivateKey => generateKey();

export const formatOperationsKey = (key: PrivateKey): Secret =>
  new Secret(privatePem(key, COMMENT));

/** Reads a file of one OpenSSH ed25519 key, whatever its comment. `source` names it in errors. */
export function parseOperationsKey(pem: Secret, source: string): PrivateKey {
  let found;
  try {
    found = parsePrivatePem(pem.reveal());
  } catch (cause) {
    throw unusable(source, (cause as Error).message, cause);
  }
  const [named, ...more] = found;
  if (!named || more.length > 0) throw unusable(source, `it holds ${found.length} keys, not one`);
  return named.key;
}

const unusable = (source: string, why: string, cause?: unknown): OpenboxError =>
  new OpenboxError("bad_file", `Cannot use the operations key in ${source}: ${why}`, {
    hint: "ssh-keygen -t ed25519 -N '' -f FILE makes one",
    cause,
  });
