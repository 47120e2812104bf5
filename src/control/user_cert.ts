/** User certificates: one for each run that was allowed, on record before anybody has it. */
import type { CertAuthority } from "../ca/authority.ts";
import { OpenboxError } from "../errors.ts";
import { fingerprint, type PublicKey } from "../ssh/key.ts";
import type { AllowedRun } from "./allow.ts";
import type { Call, Control } from "./route.ts";

export interface UserCertDeps extends Pick<Control, "store" | "clock" | "observer"> {
  /** Signs with a user CA key that the node takes. */
  readonly authority: CertAuthority;
}

/** Throws `revoked` for a key that is. It allows what `run` says and no more; whether the node takes a login or an isolation is its owner's to say. */
export async function issueUserCert(
  { user, node, session, isolation, login, rule }: AllowedRun,
  key: PublicKey,
  call: Pick<Call<unknown>, "audit">,
  { authority, store, clock, observer }: UserCertDeps,
) {
  const keyFingerprint = fingerprint(key.blob);
  if (await store.isKeyRevoked(user.accountId, keyFingerprint)) throw keyRevoked();
  const certificate = await authority.issueUserCert({
    key,
    userId: user.id,
    userName: user.name,
    accountId: user.accountId,
    nodeId: node.id,
    isolation,
    session,
    login,
    tokenId: user.tokenId,
    now: clock.now(),
  });
  observer.issued("user");
  await store.recordAudit([
    call.audit("dispatch", {
      subject: node.id,
      detail: {
        serial: String(certificate.serial),
        key: keyFingerprint,
        isolation: isolation ?? null,
        session: session ?? null,
        login: login ?? null,
        rule,
      },
    }),
  ]);
  return certificate;
}

const keyRevoked = () =>
  new OpenboxError("revoked", "This machine's key for SSH was revoked", {
    hint: "openbox logout, then openbox login: the next command makes another key",
  });
