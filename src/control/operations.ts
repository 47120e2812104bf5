/**
 * The operations key (ca/operations.ts) at work: one of this process's own, kept in its home, and never
 * in the database. Its certificate is in the database, so that it signs also after a start with the CA
 * sealed.
 */
import type { CertAuthority } from "../ca/authority.ts";
import {
  formatOperationsKey,
  generateOperationsKey,
  needsOperationsCert,
  type OperationsSigner,
  parseOperationsKey,
} from "../ca/operations.ts";
import { OPERATIONS_PRINCIPAL } from "../ca/names.ts";
import type { Clock } from "../clock.ts";
import { toOpenboxError } from "../errors.ts";
import { createPrivateFile, readPrivateFile } from "../home/private_file.ts";
import { log } from "../log.ts";
import { Secret } from "../secret.ts";
import { certificateLine, parseCertificate, parseCertificateLine } from "../ssh/certificate.ts";
import { authorizedLine, fingerprint, type PrivateKey } from "../ssh/key.ts";
import type { Store } from "../store/store.ts";
import type { ControlSettings } from "./settings.ts";

export interface Operations {
  /**
   * The key with a certificate that is good now, renewed where it is time. Rejects with what the CA says
   * (`ca_locked`) where there is none and none to be had.
   */
  signer(): Promise<OperationsSigner>;
}

export interface OperationsDeps {
  readonly key: PrivateKey;
  readonly store: Pick<Store, "operationsCert" | "recordOperationsCert">;
  /** The CA of now; rejects while it is sealed. */
  authority(): Promise<OperationsAuthority>;
  readonly clock: Clock;
}

export type OperationsAuthority = Pick<CertAuthority, "publicKeys" | "issueOperationsCert">;

const MAX_BYTES = 16 * 1024;

/** The key of this process: given, kept, or made. */
export async function loadOperationsKey(
  source: ControlSettings["operationsKey"],
): Promise<PrivateKey> {
  if (source.kind === "text") return parseOperationsKey(source.pem, "OPENBOX_OPERATIONS_KEY");
  if (source.kind === "memory") return generateOperationsKey();
  const { path } = source;
  const found = await readPrivateFile(path, { maxBytes: MAX_BYTES });
  if (found !== undefined) return parseOperationsKey(new Secret(found), path);
  const key = generateOperationsKey();
  try {
    if (await createPrivateFile(path, formatOperationsKey(key).reveal())) return key;
  } catch (error) {
    const failure = toOpenboxError(error);
    if (failure.code !== "bad_file") throw failure;
    // a container whose home cannot be written works on; what it misses shows only with a sealed CA
    log("control").warn("the operations key is not kept: {error}", {
      error: failure,
      hint: "OPENBOX_OPERATIONS_KEY gives one; it signs revocations while the CA is sealed",
    });
    return key;
  }
  // another start was faster: its key is the key
  return await loadOperationsKey(source);
}

export function openOperations({ key, store, authority, clock }: OperationsDeps): Operations {
  const publicKey = authorizedLine(key);
  let certificate: Uint8Array | undefined, asking: Promise<Uint8Array> | undefined;

  /** Issued anew where it is time and the CA can; as it is while it is still good. */
  async function renew(): Promise<Uint8Array> {
    const known = certificate ?? await readKnown(), now = clock.now();
    try {
      const ca = await authority();
      const isDue = !known ||
        needsOperationsCert(known, { key, authority: ca.publicKeys.host, now });
      return isDue ? await issue(ca, now) : known;
    } catch (error) {
      if (known && isGood(known, now)) return known;
      throw error;
    }
  }

  async function issue(ca: OperationsAuthority, now: number): Promise<Uint8Array> {
    const { blob, serial } = await ca.issueOperationsCert({ key, now });
    await store.recordOperationsCert(publicKey, certificateLine(blob), now, {
      at: now,
      accountId: undefined,
      action: "cert.host",
      outcome: "allowed",
      actor: "system",
      subject: OPERATIONS_PRINCIPAL,
      detail: { serial: String(serial), key: fingerprint(key.blob) },
    });
    return blob;
  }

  async function readKnown(): Promise<Uint8Array | undefined> {
    const line = await store.operationsCert(publicKey);
    return line === undefined ? undefined : parseCertificateLine(line);
  }

  return {
    async signer() {
      // one question at a time: each certificate costs a serial
      asking ??= renew().finally(() => asking = undefined);
      certificate = await asking;
      return { key, certificate };
    },
  };
}

/** Its time is not over. */
function isGood(blob: Uint8Array, now: number): boolean {
  const { validAfter, validBefore } = parseCertificate(blob);
  const seconds = BigInt(Math.floor(now / 1000));
  return seconds >= validAfter && seconds < validBefore;
}
