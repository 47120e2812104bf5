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
import { OpenboxError, toOpenboxError } from "../errors.ts";
import { createPrivateFile, readPrivateFile, writePrivateFile } from "../home/private_file.ts";
import { log } from "../log.ts";
import { Secret } from "../secret.ts";
import { certificateLine, parseCertificate, parseCertificateLine } from "../ssh/certificate.ts";
import { authorizedLine, fingerprint, type PrivateKey } from "../ssh/key.ts";
import type { Store } from "../store/store.ts";
import type { ControlSettings } from "./settings.ts";

export interface Operations {
  /**
   * The key with a certificate that is good now, renewed where it is time; another key, where it was
   * revoked. Rejects with what the CA says (`ca_locked`) where there is none and none to be had, and with
   * `revoked` where only its giver can replace the key.
   */
  signer(): Promise<OperationsSigner>;
}

export interface OperationsDeps {
  readonly key: PrivateKey;
  /** Keeps another key in the place of that; undefined: `key` was given. */
  readonly replace: ((key: PrivateKey) => Promise<void>) | undefined;
  readonly store: Pick<Store, "operationsCert" | "recordOperationsCert" | "isSignerRevoked">;
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
    notKept(failure);
    return key;
  }
  // another start was faster: its key is the key
  return await loadOperationsKey(source);
}

const notKept = (error: OpenboxError) =>
  log("control").warn("the operations key is not kept: {error}", {
    error,
    hint: "OPENBOX_OPERATIONS_KEY gives one; it signs revocations while the CA is sealed",
  });

/** Where another key goes, when that of `loadOperationsKey` was revoked. */
export function operationsKeyPlace(
  source: ControlSettings["operationsKey"],
): OperationsDeps["replace"] {
  switch (source.kind) {
    case "text":
      return undefined;
    case "memory":
      return () => Promise.resolve();
    case "file":
      // where it cannot be written, the next start finds the one that is revoked and makes another
      return (key) =>
        writePrivateFile(source.path, formatOperationsKey(key).reveal())
          .catch((error) => notKept(toOpenboxError(error)));
  }
}

export function openOperations(
  { key: first, replace, store, authority, clock }: OperationsDeps,
): Operations {
  let key = first;
  let certificate: Uint8Array | undefined, asking: Promise<OperationsSigner> | undefined;

  /** Issued anew where it is time and the CA can; as it is while it is still good. */
  async function renew(): Promise<OperationsSigner> {
    const known = certificate ?? await readKnown(), now = clock.now();
    const revoked = known !== undefined && await isRevoked(known);
    if (revoked && !replace) throw givenKeyRevoked();
    try {
      const ca = await authority();
      if (revoked) return await renewKey(ca, now);
      const isDue = !known ||
        needsOperationsCert(known, { key, authority: ca.publicKeys.host, now });
      return use(key, isDue ? await issue(key, ca, now) : known);
    } catch (error) {
      if (!known || !isGood(known, now)) throw error;
      if (revoked) {
        // nodes that have not heard of it yet hear of it, and of all else, by this one alone
        log("control").error("the operations key is revoked, and there is no other yet: {error}", {
          error: toOpenboxError(error),
        });
      }
      return use(key, known);
    }
  }

  function use(of: PrivateKey, by: Uint8Array): OperationsSigner {
    key = of;
    certificate = by;
    return { key, certificate: by };
  }

  /** A certificate is public: with another for the same key its thief could go on. */
  async function renewKey(ca: OperationsAuthority, now: number): Promise<OperationsSigner> {
    const made = generateOperationsKey(), signer = use(made, await issue(made, ca, now));
    await replace?.(made);
    log("control").warn("the operations key was revoked; there is a new one", {
      key: fingerprint(made.blob),
    });
    return signer;
  }

  async function isRevoked(blob: Uint8Array): Promise<boolean> {
    return await store.isSignerRevoked(parseCertificate(blob).serial, fingerprint(key.blob));
  }

  async function issue(
    of: PrivateKey,
    ca: OperationsAuthority,
    now: number,
  ): Promise<Uint8Array> {
    const { blob, serial } = await ca.issueOperationsCert({ key: of, now });
    await store.recordOperationsCert(authorizedLine(of), certificateLine(blob), now, {
      at: now,
      accountId: undefined,
      action: "cert.host",
      outcome: "allowed",
      actor: "system",
      subject: OPERATIONS_PRINCIPAL,
      detail: { serial: String(serial), key: fingerprint(of.blob) },
    });
    return blob;
  }

  async function readKnown(): Promise<Uint8Array | undefined> {
    const line = await store.operationsCert(authorizedLine(key));
    return line === undefined ? undefined : parseCertificateLine(line);
  }

  return {
    // one question at a time: each certificate costs a serial
    signer: () => asking ??= renew().finally(() => asking = undefined),
  };
}

const givenKeyRevoked = () =>
  new OpenboxError("revoked", "The key in OPENBOX_OPERATIONS_KEY is revoked", {
    hint: "give another (ssh-keygen -t ed25519 -N '' -f FILE makes one), and start again",
  });

/** Its time is not over. */
function isGood(blob: Uint8Array, now: number): boolean {
  const { validAfter, validBefore } = parseCertificate(blob);
  const seconds = BigInt(Math.floor(now / 1000));
  return seconds >= validAfter && seconds < validBefore;
}
