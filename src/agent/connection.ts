/** Who may come in: the agent's answer to a certificate, at authentication and again for each channel. */
import {
  CertificateRefused,
  type UserCertPolicy,
  type VerifiedUser,
  verifyUserCert,
} from "../ca/verifier.ts";
import type { Clock } from "../clock.ts";
import { escape } from "../escape.ts";
import type { Code, OpenboxError } from "../errors.ts";
import type { AuthDecision, AuthRequest } from "../ssh/server.ts";
import { removedError } from "./heartbeat.ts";
import type { Revocations } from "./revocations.ts";
import type { NodeState } from "./state.ts";

export interface ConnectionDeps {
  readonly clock: Clock;
  readonly node: {
    readonly state: NodeState;
    readonly clockAheadMs: number | undefined;
  };
  readonly revocations: Pick<Revocations, "refusal">;
}

export function authenticate(
  { username, certificate, remoteAddress }: AuthRequest,
  { clock, node, revocations }: ConnectionDeps,
): AuthDecision<VerifiedUser> {
  const { state } = node;
  const policy: UserCertPolicy = {
    authorities: state.ca.user.keys,
    username,
    accountId: state.accountId,
    nodeId: state.nodeId,
    now: clock.now(),
    remoteAddress,
  };
  try {
    const proof = verifyUserCert(certificate, policy);
    if (state.removed) return refuse(removedError(state.nodeId));
    const refusal = revocations.refusal(proof);
    return refusal ? refuse(refusal) : { accept: true, proof };
  } catch (error) {
    if (!(error instanceof CertificateRefused)) throw error;
    // whoever was not certified by our CA learns nothing
    if (!error.ours) return { accept: false, reason: `${error.code}: ${error.message}` };
    return refuse(error, explainSkew(certificate, policy, error.code, node.clockAheadMs));
  }
}

function refuse({ code, message }: OpenboxError, skew?: string): AuthDecision<VerifiedUser> {
  const line = skew === undefined ? `${code}: ${message}` : `clock_skew: ${skew}`;
  return { accept: false, reason: line, banner: `openbox: ${escape(line)}` };
}

/** What the heartbeats say about our clock, where by the control plane's the certificate would have done. */
function explainSkew(
  certificate: Uint8Array,
  policy: UserCertPolicy,
  code: Code,
  aheadMs: number | undefined,
): string | undefined {
  if (aheadMs === undefined || (code !== "cert_expired" && code !== "clock_skew")) return undefined;
  try {
    verifyUserCert(certificate, { ...policy, now: policy.now - aheadMs });
  } catch {
    return undefined;
  }
  const side = aheadMs > 0 ? "ahead of" : "behind";
  return `The node's clock is ${formatSpan(Math.abs(aheadMs))} ${side} the control plane's`;
}

/** `2 h 0 min`, `6 min 5 s`, `40 s`. */
export function formatSpan(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}
