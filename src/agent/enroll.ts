/** Becoming a node: once, with a token that one person made, for the CA that the token names. */
import type { RegisterRequest } from "../api/enroll.ts";
import type { SignedStatement } from "../api/revocations.ts";
import { type EnrollToken, formatEnrollToken, signEnrollProof } from "../ca/enroll_proof.ts";
import { caFingerprint } from "../ca/keys.ts";
import { followCa, trustPair } from "../ca/trust.ts";
import { verifyHostCert } from "../ca/verifier.ts";
import type { ControlClient } from "../client/control_client.ts";
import type { ServerUrl } from "../client/server_url.ts";
import { parseCaAnswer } from "../client/trust.ts";
import type { AbortOptions } from "../abort.ts";
import { equalBytes } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { authorizedLine, generateKey } from "../ssh/key.ts";
import { hashEnrollToken, type HostCert, type NodeState, parseHostCert } from "./state.ts";

export interface Enrollment {
  readonly server: ServerUrl;
  readonly token: EnrollToken;
  readonly name: string;
  readonly tags: readonly string[];
  /** What others dial. */
  readonly addr: string;
  readonly insecureHttp: boolean;
  readonly tlsCa: string | undefined;
}

export interface Enrolled {
  readonly state: NodeState;
  /** The account's list of now. */
  readonly revocationList: SignedStatement | undefined;
  /** Of those asked for. */
  readonly droppedTags: readonly string[];
}

/** The key is new: one that a removed node had would be a name for two. Nothing is stored here. */
export async function enroll(
  enrollment: Enrollment,
  { control }: { readonly control: ControlClient },
  options: AbortOptions = {},
): Promise<Enrolled> {
  const { server, token, name, tags, addr } = enrollment;
  const hostKey = generateKey();
  const request: RegisterRequest = {
    enroll_token: formatEnrollToken(token).reveal(),
    name,
    host_pubkey: authorizedLine(hostKey),
    addr,
    ...PLATFORM,
    tags: [...tags],
    proof: signEnrollProof(token, hostKey),
  };
  const answer = await control.register(request, options);
  const pair = parseCaAnswer(answer);
  const fingerprint = caFingerprint(pair);
  if (fingerprint !== token.fingerprint) {
    throw new OpenboxError(
      "ca_changed",
      `The control plane at ${server.href} names the CA ${fingerprint}; the enrollment token is for ${token.fingerprint}`,
      {
        hint:
          "somebody may sit in between; if not, openbox node token makes a token for the CA of now",
      },
    );
  }
  // the token pins a pair; where the CA was rotated since, its keys lead on
  const ca = followCa(trustPair(pair), answer.ca_rotations ?? []);
  return {
    state: {
      server,
      nodeId: answer.node_id,
      accountId: answer.account_id,
      name,
      tags,
      hostKey,
      hostCert: checkHostCert(answer.host_cert, { nodeId: answer.node_id, hostKey, ca }),
      nodeToken: new Secret(answer.node_token),
      ca,
      enrollTokenHash: hashEnrollToken(token),
      insecureHttp: enrollment.insecureHttp,
      tlsCa: enrollment.tlsCa,
      removed: false,
      revocationsFloor: undefined,
    },
    revocationList: answer.revocation_list,
    droppedTags: tags.filter((tag) => !answer.tags.includes(tag)),
  };
}

/** As the wire has them. */
const PLATFORM = {
  os: Deno.build.os === "darwin" ? "darwin" : "linux",
  arch: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
} as const;

/**
 * A host certificate as the control plane sends it: only one for this node's id and key, by the pinned CA.
 * Whether it is valid now is for callers to judge: this machine's clock may be the one that is wrong.
 */
export function checkHostCert(
  line: string,
  { nodeId, hostKey, ca }: Pick<NodeState, "nodeId" | "hostKey" | "ca">,
): HostCert {
  try {
    const cert = parseHostCert(line);
    const now = Number(cert.validAfter) * 1000;
    const { key } = verifyHostCert(cert.blob, { authorities: ca.host.keys, nodeId, now });
    if (!equalBytes(key.blob, hostKey.blob)) throw new Error("it is for another key");
    return cert;
  } catch (cause) {
    throw new OpenboxError(
      "host_key_mismatch",
      `The control plane sent a host certificate that is not this node's: ${
        (cause as Error).message
      }`,
      { cause },
    );
  }
}
