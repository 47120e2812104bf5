import {
  HeldRevocationsAnswer,
  HeldRevocationsRequest,
  MAX_LIST_BYTES,
  RevocationAnswer,
  RevocationRequest,
  Revocations,
} from "../../api/revocations.ts";
import { type VerifiedRevocations, verifyRevocationList } from "../../client/revocation_list.ts";
import { OpenboxError } from "../../errors.ts";
import { requireAllowed } from "../allow.ts";
import { log } from "../../log.ts";
import type { Revocation, TokenUser } from "../../store/store.ts";
import { type Control, nodeRoute, userRoute } from "../route.ts";

const PATH = "/v1/revocations";

/** Refused by the control plane at once, by the nodes with their next heartbeat. Needs no CA. */
export const revoke = userRoute(
  {
    method: "POST",
    path: PATH,
    summary: "Revoke a token, a user, a node, a certificate or a key",
    needs: "self",
    body: RevocationRequest,
    answers: { 200: RevocationAnswer },
    refuses: ["not_found", "node_not_found", "quota"],
  },
  async (call, user, { store, clock }) => {
    const { kind, id, reason } = call.body, { accountId } = user;
    if (kind !== "token" || !await isOwnToken(id, user, { store, clock })) {
      requireAllowed(user, { verb: "admin" });
    }
    const revoked = await store.revoke(
      { accountId, kind, id, by: user.id, reason, now: clock.now() },
      call.audit("revoke", { subject: id, detail: { kind, reason } }),
    );
    if (!revoked) throw unknown(kind, id);
    log("control").info("revoked", { kind, id: revoked.id, by: user.id });
    const body: RevocationAnswer = { kind, id: revoked.id, version: revoked.version };
    return { status: 200, body };
  },
);

/** One's own may be revoked by anybody; with a token that has scopes only itself. */
async function isOwnToken(
  id: string,
  user: TokenUser,
  { store, clock }: Pick<Control, "store" | "clock">,
): Promise<boolean> {
  if (id === user.tokenId) return true;
  if (user.scopes !== "all") return false;
  return (await store.userToken(user.accountId, id, clock.now()))?.userId === user.id;
}

/** Another account's is not there: the same words as for one that never was. */
const unknown = (kind: string, id: string) =>
  new OpenboxError(
    kind === "node" ? "node_not_found" : "not_found",
    `no ${kind} has the id ${JSON.stringify(id)}`,
    { hint: kind === "node" ? "openbox nodes" : undefined },
  );

export const listRevocations = userRoute(
  {
    method: "GET",
    path: PATH,
    summary: "What is revoked, the newest first",
    needs: "audit",
    answers: { 200: Revocations },
  },
  async (_call, user, { store }) => {
    const { version, revocations } = await store.revocations(user.accountId);
    const body: Revocations = { version, revocations: revocations.map(toApi) };
    return { status: 200, body };
  },
);

const toApi = (one: Revocation): Revocations["revocations"][number] => ({
  kind: one.kind,
  id: one.id,
  before: one.issuedBefore === undefined ? null : Math.ceil(one.issuedBefore / 1000),
  version: one.version,
  revoked_at: Math.floor(one.revokedAt / 1000),
  by: one.by,
  reason: one.reason,
});

/**
 * A node gives back a list that this database does not remember: it was replaced by its backup. What the
 * list holds is believed by its signature, whoever brings it, so that a restore undoes no revocation.
 */
export const takeBackRevocations = nodeRoute(
  {
    method: "POST",
    path: "/v1/nodes/revocations",
    summary: "A node gives back the revocation list that it holds",
    body: HeldRevocationsRequest,
    maxBody: MAX_LIST_BYTES * 2,
    answers: { 200: HeldRevocationsAnswer },
    refuses: ["cert_refused", "cert_too_long", "clock_skew", "host_cert_expired"],
  },
  async (call, node, control) => {
    const { body } = call;
    const { store, ca, revocationLists, clock } = control;
    if (body.node_id !== node.id) {
      throw new OpenboxError("unauthorized", "The node token is another node's");
    }
    const { accountId } = node, now = clock.now();
    const list = verifyRevocationList(body.revocation_list, {
      authorities: (await ca.now()).state.host.keys,
      accountId,
      now,
    });
    // this account's own word, as its nodes have it: another's must not keep its list from being restored
    const known = (await store.revocations(accountId)).revocations;
    if (known.some((one) => isOfSigner(one, list.signer))) {
      throw new OpenboxError("cert_refused", "The key that signed this revocation list is revoked");
    }
    // of a list that is known nothing can be missing
    if (!await store.knowsRevocationVersion(accountId, list.version)) {
      const taken = await store.adoptRevocations(
        accountId,
        list,
        now,
        call.audit("revocations.adopt", {
          subject: node.id,
          detail: { version: list.version, entries: list.entries.length },
        }),
      );
      if (taken.length > 0) {
        log("control").warn(
          "a node holds revocations that this database forgot: was a backup restored?",
          { node: node.id, version: list.version, taken: taken.length },
        );
      }
    }
    const { version } = await store.revocations(accountId);
    const answer: HeldRevocationsAnswer = {
      revocation_list: await revocationLists.signed(accountId, version),
    };
    return { status: 200, body: answer };
  },
);

const isOfSigner = (
  { kind, id }: Revocation,
  { serial, fingerprint }: VerifiedRevocations["signer"],
): boolean => (kind === "cert" && id === String(serial)) || (kind === "key" && id === fingerprint);
