import { type CaKindStatus, CaPassphrase, CaRotateRequest, CaStatus } from "../../api/ca.ts";
import { CA_KINDS, type CaKind, keysFingerprint } from "../../ca/trust.ts";
import { OpenboxError } from "../../errors.ts";
import { Secret } from "../../secret.ts";
import { authorizedLine } from "../../ssh/key.ts";
import type { CaNode, User } from "../../store/store.ts";
import { hasFollowed } from "../ca_state.ts";
import type { CaNow } from "../ca.ts";
import { isOnline } from "../resolve.ts";
import { type Control, userRoute } from "../route.ts";

export const getCa = userRoute(
  {
    method: "GET",
    path: "/v1/ca",
    needs: "admin",
    summary: "The CA's keys, their rotation, and who has yet to follow",
    answers: { 200: CaStatus },
  },
  async (_, user, control) => {
    await requireOperator(user, control);
    return await status(control);
  },
);

export const rotateCa = userRoute(
  {
    method: "POST",
    path: "/v1/ca/rotate",
    needs: "admin",
    summary: "Take a step in a rotation of the CA's keys",
    body: CaRotateRequest,
    answers: { 200: CaStatus },
    refuses: ["conflict", "ca_locked", "not_supported"],
  },
  async (call, user, control) => {
    await requireOperator(user, control);
    const { step, kinds, force } = call.body;
    const asked = kinds && CA_KINDS.filter((kind) => kinds.includes(kind));
    await control.ca.rotate({ step, kinds: asked, force }, call.audit("ca.rotate"));
    return await status(control);
  },
);

export const sealCa = userRoute(
  {
    method: "POST",
    path: "/v1/ca/seal",
    needs: "admin",
    summary: "Put the CA's keys under a passphrase",
    body: CaPassphrase,
    answers: { 200: CaStatus },
    refuses: ["usage", "conflict", "ca_locked", "not_supported"],
  },
  async (call, user, control) => {
    await requireOperator(user, control);
    await control.ca.seal(new Secret(call.body.passphrase), call.audit("ca.seal"));
    return await status(control);
  },
);

export const unsealCa = userRoute(
  {
    method: "POST",
    path: "/v1/ca/unseal",
    needs: "admin",
    summary: "Tell the passphrase of the CA",
    body: CaPassphrase,
    answers: { 200: CaStatus },
    refuses: ["wrong_passphrase", "too_many"],
  },
  async (call, user, control) => {
    await requireOperator(user, control);
    await control.ca.unseal(new Secret(call.body.passphrase), call.audit("ca.unseal"));
    return await status(control);
  },
);

/** The CA belongs to the installation: to those of its first account, not to whoever has one on it. */
export async function requireOperator(user: User, { store }: Control): Promise<void> {
  if (await store.firstAccount() === user.accountId) return;
  throw new OpenboxError("scope", "The CA belongs to those who run this control plane");
}

async function status(control: Control): Promise<{ status: 200; body: CaStatus }> {
  const ca = await control.ca.now();
  const nodes = await control.store.caNodes();
  const body: CaStatus = {
    ca_fingerprint: ca.fingerprint,
    sealed: ca.sealed,
    locked: ca.locked,
    host: kindStatus("host", ca, nodes, control.clock.now()),
    user: kindStatus("user", ca, nodes, control.clock.now()),
  };
  return { status: 200, body };
}

const MOST_LISTED = 100;

function kindStatus(
  kind: CaKind,
  { state }: CaNow,
  nodes: readonly CaNode[],
  now: number,
): CaKindStatus {
  const { phase, keys, changedAt } = state[kind];
  const waiting = nodes.filter((node) => !hasFollowed(kind, state, node));
  return {
    phase,
    changed_at: changedAt === undefined ? null : Math.floor(changedAt / 1000),
    keys: keys.map((key) => ({
      fingerprint: keysFingerprint([key]),
      public_key: authorizedLine(key),
    })),
    waiting: waiting.slice(0, MOST_LISTED).map(({ id, name, lastSeenAt }) => ({
      id,
      name,
      online: isOnline(lastSeenAt, now),
    })),
    waiting_count: waiting.length,
  };
}
