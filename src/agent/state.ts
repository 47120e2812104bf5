/** `agent/agent.json`: who this node is. */
import { createHash } from "node:crypto";
import * as v from "valibot";
import type { EnrollToken } from "../ca/enroll_proof.ts";
import { formatTrust, parseTrust } from "../ca/kept_trust.ts";
import type { CaTrust } from "../ca/trust.ts";
import { parseServerUrl, type ServerUrl } from "../client/server_url.ts";
import { readKeptJson, unusable } from "../home/kept_json.ts";
import { writePrivateFile } from "../home/private_file.ts";
import { Secret } from "../secret.ts";
import { certificateLine, parseCertificate, parseCertificateLine } from "../ssh/certificate.ts";
import { parsePrivatePem, type PrivateKey, privatePem } from "../ssh/key.ts";

export interface NodeState {
  readonly server: ServerUrl;
  readonly nodeId: string;
  readonly accountId: string;
  readonly name: string;
  /** As asked for at enrollment; the control plane may have given fewer, and people may change them. */
  readonly tags: readonly string[];
  readonly hostKey: PrivateKey;
  readonly hostCert: HostCert;
  readonly nodeToken: Secret;
  readonly ca: CaTrust;
  /** SHA-256 of the secret that enrolled it: another one enrolls anew where the node was removed. */
  readonly enrollTokenHash: string;
  readonly insecureHttp: boolean;
  readonly tlsCa: string | undefined;
  /** The control plane said that this node is no more. */
  readonly removed: boolean;
  /** The version of the newest revocation list it held; undefined before the first. */
  readonly revocationsFloor: number | undefined;
}

export interface HostCert {
  readonly blob: Uint8Array;
  readonly serial: bigint;
  /** Epoch seconds. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
}

export const hashEnrollToken = ({ secret }: EnrollToken): string =>
  createHash("sha256").update(secret.reveal()).digest("hex");

export function parseHostCert(line: string): HostCert {
  const blob = parseCertificateLine(line);
  const { serial, validAfter, validBefore } = parseCertificate(blob);
  return { blob, serial, validAfter, validBefore };
}

const VERSION = 1;

const line = v.pipe(v.string(), v.nonEmpty());
const trustedKeys = v.object({
  keys: v.pipe(v.array(line), v.minLength(1)),
  seq: v.pipe(v.number(), v.safeInteger()),
});
const StateFile = v.object({
  version: v.literal(VERSION),
  server: line,
  node_id: line,
  account_id: line,
  name: line,
  tags: v.array(v.string()),
  /** = user_ca_pubkey, under the Go program's name */
  ca_pubkey: line,
  host_ca_pubkey: line,
  user_ca_pubkey: line,
  /** Where a rotation led from there: all keys that are trusted, and the number of the newest statement. */
  ca_trust: v.optional(v.object({ host: trustedKeys, user: trustedKeys })),
  host_cert: line,
  host_key_pem: line,
  node_token: line,
  enroll_token_hash: line,
  insecure_http: v.optional(v.boolean(), false),
  tls_ca: v.optional(line),
  removed: v.optional(v.boolean(), false),
  revocations_floor: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
});

const KIND = {
  schema: StateFile,
  version: VERSION,
  what: "a node's state",
  goKey: "node_id",
  remedy: "enroll this machine again: openbox node token",
} as const;

/** Undefined where this machine is no node yet. Throws `unsafe_file` or `bad_file` with the way out. */
export async function readNodeState(path: string): Promise<NodeState | undefined> {
  const file = await readKeptJson(path, KIND);
  if (file === undefined) return undefined;
  try {
    return fromFile(file);
  } catch (cause) {
    throw unusable(path, (cause as Error).message, KIND, cause);
  }
}

function fromFile(file: v.InferOutput<typeof StateFile>): NodeState {
  const [named, ...more] = parsePrivatePem(file.host_key_pem);
  if (!named || more.length > 0) throw new Error("host_key_pem must hold one key");
  return {
    server: parseServerUrl(file.server, "its server"),
    nodeId: file.node_id,
    accountId: file.account_id,
    name: file.name,
    tags: file.tags,
    hostKey: named.key,
    hostCert: parseHostCert(file.host_cert),
    nodeToken: new Secret(file.node_token),
    ca: parseTrust(file),
    enrollTokenHash: file.enroll_token_hash,
    insecureHttp: file.insecure_http,
    tlsCa: file.tls_ca,
    removed: file.removed,
    revocationsFloor: file.revocations_floor,
  };
}

/** Replaces the file; whoever calls has read what was there, so that nothing foreign is overwritten. */
export function writeNodeState(path: string, state: NodeState): Promise<void> {
  const trust = formatTrust(state.ca);
  const file: v.InferInput<typeof StateFile> = {
    version: VERSION,
    server: state.server.href,
    node_id: state.nodeId,
    account_id: state.accountId,
    name: state.name,
    tags: [...state.tags],
    ca_pubkey: trust.user_ca_pubkey,
    ...trust,
    host_cert: certificateLine(state.hostCert.blob),
    host_key_pem: privatePem(state.hostKey, state.nodeId),
    node_token: state.nodeToken.reveal(),
    enroll_token_hash: state.enrollTokenHash,
    ...(state.insecureHttp && { insecure_http: true }),
    ...(state.tlsCa !== undefined && { tls_ca: state.tlsCa }),
    ...(state.revocationsFloor !== undefined && { revocations_floor: state.revocationsFloor }),
    ...(state.removed && { removed: true }),
  };
  return writePrivateFile(path, JSON.stringify(file, null, 2) + "\n");
}
