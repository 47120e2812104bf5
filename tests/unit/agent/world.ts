/** A node and its authority in memory, and who comes to it. */
import { createCertAuthority, type UserCertRequest } from "../../../src/ca/authority.ts";
import { type CaKeys, generateCaKeys } from "../../../src/ca/keys.ts";
import { trustPair } from "../../../src/ca/trust.ts";
import { type VerifiedUser, verifyUserCert } from "../../../src/ca/verifier.ts";
import { parseServerUrl } from "../../../src/client/server_url.ts";
import type { NodeState } from "../../../src/agent/state.ts";
import { parseHostCert } from "../../../src/agent/state.ts";
import { Secret } from "../../../src/secret.ts";
import { certificateLine } from "../../../src/ssh/certificate.ts";
import { generateKey } from "../../../src/ssh/key.ts";

export const NODE_ID = "node_00000000000000aa", ACCOUNT_ID = "acc_000000000001";
export const SERVER = parseServerUrl("http://127.0.0.1:8080");
/** One authority for all tests: making keys is not what they try. */
export const CA: CaKeys = generateCaKeys();
export const NOW = Date.UTC(2026, 0, 1);

let serial = 0n;
export const authority = (keys: CaKeys = CA) =>
  createCertAuthority({ keys, nextSerial: () => Promise.resolve(++serial) });

export async function hostCertLine(
  key = generateKey(),
  { nodeId = NODE_ID, now = NOW, keys = CA } = {},
): Promise<string> {
  return certificateLine((await authority(keys).issueHostCert({ key, nodeId, now })).blob);
}

export async function aState(change: Partial<NodeState> = {}): Promise<NodeState> {
  const hostKey = generateKey();
  return {
    server: SERVER,
    nodeId: NODE_ID,
    accountId: ACCOUNT_ID,
    name: "mini",
    tags: ["gpu"],
    hostKey,
    hostCert: parseHostCert(await hostCertLine(hostKey)),
    nodeToken: new Secret("obn_token"),
    ca: trustPair(CA),
    enrollTokenHash: "00",
    insecureHttp: false,
    tlsCa: undefined,
    removed: false,
    revocationsFloor: undefined,
    ...change,
  };
}

export async function userCert(
  change: Partial<UserCertRequest> = {},
  keys: CaKeys = CA,
): Promise<Uint8Array> {
  const cert = await authority(keys).issueUserCert({
    key: generateKey(),
    userId: "usr_000000000001",
    userName: "me",
    accountId: ACCOUNT_ID,
    nodeId: NODE_ID,
    now: NOW,
    ...change,
  });
  return cert.blob;
}

export async function aUser(change: Partial<UserCertRequest> = {}): Promise<VerifiedUser> {
  return verifyUserCert(await userCert(change), {
    authorities: [CA.user],
    username: "me",
    accountId: ACCOUNT_ID,
    nodeId: NODE_ID,
    now: NOW,
    remoteAddress: "127.0.0.1",
  });
}
