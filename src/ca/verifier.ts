/**
 * Who may be believed. The two functions here are the only way to a `VerifiedUser` or a `VerifiedNode`,
 * and what runs a command or sends one asks for it. Proof that the peer holds the certified key is the
 * SSH layer's, before it asks here. No tolerance of time is added: the issuer put it into the certificate.
 */
import { type Code, OpenboxError } from "../errors.ts";
import { type Certificate, isSignedByItsAuthority, parseCertificate } from "../ssh/certificate.ts";
import { equalBytes } from "../bytes.ts";
import { fingerprint, type PublicKey } from "../ssh/key.ts";
import {
  EXTENSION,
  HOST_CERT_SECONDS,
  OPTION,
  USER_CERT_MARGIN_SECONDS,
  USER_CERT_MAX_SECONDS,
} from "./names.ts";
import { matchesSourceAddress } from "./source_address.ts";

declare const verified: unique symbol;

/** A user who was certified for this account and this node, now. */
export interface VerifiedUser {
  readonly [verified]: "user";
  readonly userId: string;
  readonly userName: string;
  readonly accountId: string;
  readonly nodeId: string;
  readonly serial: bigint;
  readonly keyFingerprint: string;
  /** Of the CA key that signed: it can be revoked as a user's can (CVE-2026-42508). */
  readonly authorityFingerprint: string;
  /** The token that the certificate was asked for with; undefined where none is named. */
  readonly tokenId: string | undefined;
  /** Epoch milliseconds, in whole seconds. */
  readonly issuedAt: number;
  /** What the certificate fixes; where it is undefined the caller may choose within the node's rules. */
  readonly isolation: string | undefined;
  readonly session: string | undefined;
  readonly login: string | undefined;
  /** OpenSSH's `force-command`: only this line may run. */
  readonly forceCommand: string | undefined;
  readonly permitPty: boolean;
}

/** A node that the host CA certified under this id, now. */
export interface VerifiedNode {
  readonly [verified]: "node";
  readonly nodeId: string;
  readonly key: PublicKey;
  readonly serial: bigint;
}

/**
 * Why a certificate was not believed. `ours` says that our CA signed it, so that its holder may be told
 * the reason; anybody else learns nothing.
 */
export class CertificateRefused extends OpenboxError {
  readonly ours: boolean;
  constructor(
    code: Code,
    message: string,
    options: { ours: boolean; hint?: string; cause?: unknown },
  ) {
    super(code, message, options);
    this.ours = options.ours;
  }
}

export interface UserCertPolicy {
  /** The user CA; several keys while it is rotated. None is nobody. */
  readonly authorities: readonly PublicKey[];
  /** The SSH user name of this connection. */
  readonly username: string;
  readonly accountId: string;
  readonly nodeId: string;
  /** Epoch milliseconds. */
  readonly now: number;
  /** The peer's address, for `source-address`. */
  readonly remoteAddress: string;
}

const MAX_PRINCIPALS = 8;
const PERMIT_PTY = "permit-pty";

export function verifyUserCert(blob: Uint8Array, policy: UserCertPolicy): VerifiedUser {
  const certificate = signedByOne(blob, policy.authorities);
  const refuse = (code: Code, message: string, hint?: string): never => {
    throw new CertificateRefused(code, message, { ours: true, hint });
  };
  if (certificate.kind !== "user") {
    refuse("cert_refused", "A host certificate was shown as a user certificate");
  }
  checkLife(certificate, USER_CERT_MAX_SECONDS, policy.now);
  const { principals, critical } = certificate;
  if (principals.length < 1 || principals.length > MAX_PRINCIPALS) {
    refuse(
      "cert_wrong_principal",
      `The certificate has ${principals.length} principals; 1 to ${MAX_PRINCIPALS} are taken`,
    );
  }
  if (!principals.includes(policy.username)) {
    refuse("cert_wrong_principal", "The certificate is not for this user name");
  }
  for (const name of critical.keys()) {
    if (!KNOWN_OPTIONS.has(name)) {
      refuse(
        "cert_unknown_option",
        "The certificate has a critical option that this agent does not know",
        "update openbox on the node",
      );
    }
  }
  if (critical.get(OPTION.account) !== policy.accountId) {
    refuse("cert_wrong_account", "The certificate belongs to another account than this node");
  }
  if (critical.get(OPTION.node) !== policy.nodeId) {
    refuse("cert_wrong_node", "The certificate is for another node");
  }
  const source = critical.get(SOURCE_ADDRESS);
  if (source !== undefined && !matchesSourceAddress(source, policy.remoteAddress)) {
    refuse("cert_refused", "The certificate may not be used from this address");
  }
  return {
    userId: certificate.keyId,
    userName: policy.username,
    accountId: policy.accountId,
    nodeId: policy.nodeId,
    serial: certificate.serial,
    keyFingerprint: fingerprint(certificate.key.blob),
    authorityFingerprint: fingerprint(certificate.authority.blob),
    tokenId: certificate.extensions.get(EXTENSION.token) || undefined,
    issuedAt: (Number(certificate.validAfter) + USER_CERT_MARGIN_SECONDS) * 1000,
    isolation: critical.get(OPTION.isolation),
    session: critical.get(OPTION.session),
    login: critical.get(OPTION.login),
    forceCommand: critical.get(FORCE_COMMAND),
    permitPty: certificate.extensions.has(PERMIT_PTY),
  } as Omit<VerifiedUser, typeof verified> as VerifiedUser;
}

/** The options that OpenSSH defines and we enforce. `verify-required` concerns keys that we do not take. */
const SOURCE_ADDRESS = "source-address", FORCE_COMMAND = "force-command";
const KNOWN_OPTIONS: ReadonlySet<string> = new Set([
  ...Object.values(OPTION),
  SOURCE_ADDRESS,
  FORCE_COMMAND,
]);

export interface HostCertPolicy {
  /** The host CA; several keys while it is rotated. None is nobody. */
  readonly authorities: readonly PublicKey[];
  /** The node that was asked for. */
  readonly nodeId: string;
  /** Epoch milliseconds. */
  readonly now: number;
}

export function verifyHostCert(blob: Uint8Array, policy: HostCertPolicy): VerifiedNode {
  let certificate: Certificate;
  try {
    certificate = signedByOne(blob, policy.authorities);
  } catch (cause) {
    throw new CertificateRefused(
      "host_key_mismatch",
      "The node showed a host certificate that this account's CA did not sign",
      { ours: false, cause },
    );
  }
  const refuse = (message: string): never => {
    throw new CertificateRefused("host_key_mismatch", message, { ours: true });
  };
  if (certificate.kind !== "host") {
    refuse("The node showed a user certificate as its host certificate");
  }
  const { principals, critical } = certificate;
  if (principals.length !== 1 || principals[0] !== policy.nodeId) {
    refuse(
      `The machine that answered is not ${policy.nodeId}: its host certificate is for ${
        JSON.stringify(principals.slice(0, 1))
      }`,
    );
  }
  if (critical.size > 0) refuse("The node's host certificate has a critical option");
  checkLife(certificate, HOST_CERT_SECONDS, policy.now);
  return {
    nodeId: policy.nodeId,
    key: certificate.key,
    serial: certificate.serial,
  } as Omit<VerifiedNode, typeof verified> as VerifiedNode;
}

/** By the first of them that the certificate names. */
function signedByOne(blob: Uint8Array, authorities: readonly PublicKey[]): Certificate {
  let refused = new CertificateRefused("cert_refused", "No CA is trusted", { ours: false });
  for (const authority of authorities) {
    try {
      return signedBy(blob, authority);
    } catch (error) {
      refused = error as CertificateRefused;
    }
  }
  throw refused;
}

/** Parsed, naming our authority, and really signed by it. Who it is for and when, the caller looks at. */
export function signedBy(blob: Uint8Array, authority: PublicKey): Certificate {
  let certificate: Certificate;
  try {
    certificate = parseCertificate(blob);
  } catch (cause) {
    throw new CertificateRefused("cert_refused", "Not a certificate that can be read", {
      ours: false,
      cause,
    });
  }
  // by the key that we hold, not by the one written in the certificate
  if (!equalBytes(certificate.authority.blob, authority.blob)) {
    throw new CertificateRefused("cert_refused", "The certificate is signed by another CA", {
      ours: false,
    });
  }
  if (!isSignedByItsAuthority(certificate)) {
    throw new CertificateRefused("cert_refused", "The certificate's signature is wrong", {
      ours: false,
    });
  }
  return certificate;
}

/** Throws where it is not valid at `nowMs`, or for longer than `maxSeconds`. */
export function checkLife(certificate: Certificate, maxSeconds: number, nowMs: number): void {
  const { kind, validAfter, validBefore } = certificate;
  const now = BigInt(Math.floor(nowMs / 1000));
  const refuse = (code: Code, message: string, hint?: string): never => {
    throw new CertificateRefused(code, message, { ours: true, hint });
  };
  // "for ever" (2^64-1) is too long by the same line, whoever signed it
  if (validBefore <= validAfter || validBefore - validAfter > BigInt(maxSeconds)) {
    refuse("cert_too_long", `The ${kind} certificate's life must be 1 to ${maxSeconds} seconds`);
  }
  if (now < validAfter) {
    refuse(
      "clock_skew",
      `The ${kind} certificate is valid only in ${validAfter - now} s by this machine's clock`,
      CLOCK_HINT,
    );
  }
  if (now >= validBefore) {
    const code = kind === "host" ? "host_cert_expired" : "cert_expired";
    refuse(
      code,
      `The ${kind} certificate ended ${now - validBefore} s ago by this machine's clock`,
      CLOCK_HINT,
    );
  }
}

const CLOCK_HINT =
  "compare `date -u` on both machines; else run the command again for a new certificate";
