/** Host certificates: issued at registration, and anew when a heartbeat shows that it is time. */
import { keysFingerprint } from "../ca/trust.ts";
import { certificateLine } from "../ssh/certificate.ts";
import { parseAuthorizedLine } from "../ssh/key.ts";
import type { EnrolledNode, HostCertRecord } from "../store/store.ts";
import type { CaNow } from "./ca.ts";
import { type CaState, hostSigningKey } from "./ca_state.ts";
import type { Call, Control } from "./route.ts";

/** The certificate's line. The node's row knows it as its newest. Throws `ca_locked`. */
export async function issueHostCert(
  node: Pick<EnrolledNode, "accountId" | "id" | "hostKey">,
  call: Pick<Call<unknown>, "audit">,
  ca: CaNow,
  { store, clock, observer }: Pick<Control, "store" | "clock" | "observer">,
): Promise<string> {
  const cert = await ca.authority().issueHostCert({
    key: parseAuthorizedLine(node.hostKey),
    nodeId: node.id,
    now: clock.now(),
  });
  observer.issued("host");
  await store.recordHostCert(node.accountId, node.id, {
    serial: cert.serial,
    validAfter: Number(cert.validAfter) * 1000,
    validBefore: Number(cert.validBefore) * 1000,
    authority: keysFingerprint([hostSigningKey(ca.state)]),
  }, {
    ...call.audit("cert.host", {
      subject: node.id,
      detail: { serial: String(cert.serial), valid_before: Number(cert.validBefore) },
    }),
    accountId: node.accountId,
  });
  return certificateLine(cert.blob);
}

/**
 * Whether an agent that holds `serial` needs another: it is not the newest, another CA key signs by now,
 * or it is past two thirds of its life.
 */
export function needsHostCert(
  newest: HostCertRecord | undefined,
  serial: bigint,
  state: CaState,
  now: number,
): boolean {
  if (newest?.serial !== serial) return true;
  const { original } = state.host;
  if (original) {
    const authority = newest.authority ?? keysFingerprint(original);
    if (authority !== keysFingerprint([hostSigningKey(state)])) return true;
  }
  const { validAfter, validBefore } = newest;
  return now >= validAfter + (validBefore - validAfter) * 2 / 3;
}
