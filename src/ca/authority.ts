/** Issues certificates. Whether the caller may have one was decided before; here only its form is refused. */
import { type CertificateFields, signCertificate } from "../ssh/certificate.ts";
import type { PublicKey } from "../ssh/key.ts";
import { caFingerprint, type CaKeys, type CaPublicKeys } from "./keys.ts";
import {
  EXTENSION,
  HOST_CERT_MARGIN_SECONDS,
  HOST_CERT_SECONDS,
  isPrincipal,
  OPERATIONS_CERT_SECONDS,
  OPERATIONS_PRINCIPAL,
  OPTION,
  USER_CERT_MARGIN_SECONDS,
} from "./names.ts";

export interface UserCertRequest {
  readonly key: PublicKey;
  readonly userId: string;
  /** The only principal, and the SSH user name. */
  readonly userName: string;
  readonly accountId: string;
  readonly nodeId: string;
  readonly isolation?: string;
  readonly session?: string;
  readonly login?: string;
  /** The token that the call came with. */
  readonly tokenId?: string;
  /** Epoch milliseconds. */
  readonly now: number;
}

export interface HostCertRequest {
  readonly key: PublicKey;
  readonly nodeId: string;
  /** Epoch milliseconds. */
  readonly now: number;
}

export interface OperationsCertRequest {
  /** Of the key that signs statements (operations.ts). */
  readonly key: PublicKey;
  /** Epoch milliseconds. */
  readonly now: number;
}

export interface IssuedCertificate {
  readonly blob: Uint8Array;
  readonly serial: bigint;
  /** Epoch seconds. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
}

export interface CertAuthority {
  readonly publicKeys: CaPublicKeys;
  readonly fingerprint: string;
  issueUserCert(request: UserCertRequest): Promise<IssuedCertificate>;
  issueHostCert(request: HostCertRequest): Promise<IssuedCertificate>;
  issueOperationsCert(request: OperationsCertRequest): Promise<IssuedCertificate>;
}

export interface CertAuthorityDeps {
  readonly keys: CaKeys;
  /** A number that no certificate of this authority had before: from the database, never from a clock. */
  nextSerial(): Promise<bigint>;
}

export function createCertAuthority({ keys, nextSerial }: CertAuthorityDeps): CertAuthority {
  return {
    publicKeys: { host: keys.host, user: keys.user },
    fingerprint: caFingerprint(keys),

    async issueUserCert(request) {
      const issuedAt = Math.floor(request.now / 1000);
      return sign(await nextSerial(), keys.user, {
        kind: "user",
        key: request.key,
        keyId: request.userId,
        principals: [principal(request.userName)],
        validAfter: BigInt(issuedAt - USER_CERT_MARGIN_SECONDS),
        validBefore: BigInt(issuedAt + USER_CERT_MARGIN_SECONDS),
        critical: new Map([
          [OPTION.account, request.accountId],
          [OPTION.node, request.nodeId],
          ...optional(OPTION.isolation, request.isolation),
          ...optional(OPTION.session, request.session),
          ...optional(OPTION.login, request.login),
        ]),
        extensions: new Map([["permit-pty", ""], ...optional(EXTENSION.token, request.tokenId)]),
      });
    },

    async issueHostCert({ key, nodeId, now }) {
      return sign(await nextSerial(), keys.host, hostFields(key, nodeId, HOST_CERT_SECONDS, now));
    },

    async issueOperationsCert({ key, now }) {
      const fields = hostFields(key, OPERATIONS_PRINCIPAL, OPERATIONS_CERT_SECONDS, now);
      return sign(await nextSerial(), keys.host, fields);
    },
  };
}

function hostFields(
  key: PublicKey,
  name: string,
  seconds: number,
  now: number,
): Omit<CertificateFields, "serial"> {
  const validAfter = Math.floor(now / 1000) - HOST_CERT_MARGIN_SECONDS;
  return {
    kind: "host",
    key,
    keyId: name,
    principals: [principal(name)],
    validAfter: BigInt(validAfter),
    validBefore: BigInt(validAfter + seconds),
    critical: new Map(),
    extensions: new Map(),
  };
}

function sign(
  serial: bigint,
  authority: CaKeys["user"],
  fields: Omit<CertificateFields, "serial">,
): IssuedCertificate {
  const { validAfter, validBefore } = fields;
  return {
    blob: signCertificate({ ...fields, serial }, authority),
    serial,
    validAfter,
    validBefore,
  };
}

/** A name that some reader could take for two, or for another, is never certified. */
function principal(name: string): string {
  if (!isPrincipal(name)) {
    throw new TypeError(`not a principal: ${JSON.stringify(name.slice(0, 80))}`);
  }
  return name;
}

const optional = (name: string, value: string | undefined): [string, string][] =>
  value ? [[name, value]] : [];
