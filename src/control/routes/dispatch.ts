import { type DispatchAnswer, DispatchRequest } from "../../api/dispatch.ts";
import { OpenboxError } from "../../errors.ts";
import { parseIsolation } from "../../isolation/spec.ts";
import { certificateLine } from "../../ssh/certificate.ts";
import { fingerprint } from "../../ssh/key.ts";
import type { CaKnown, Target } from "../../store/store.ts";
import { caLocked } from "../ca.ts";
import { isCaughtUp, nodeAuthority, userSigningKey } from "../ca_state.ts";
import { findNode } from "../find_node.ts";
import { parseKeyLine } from "../key_line.ts";
import { TooMany } from "../rate_limit.ts";
import { userRoute } from "../route.ts";
import { placeSession } from "../session_place.ts";
import { caChain, caLines } from "./whoami.ts";

/** Which node, and a certificate for one call on it. */
export const dispatch = userRoute(
  { method: "POST", path: "/v1/dispatch", body: DispatchRequest },
  async (call, user, control) => {
    const { store, clock, dispatches } = control;
    const wait = dispatches.take(user.id);
    if (wait > 0) throw new TooMany("Too many calls at once by this user", wait);
    const key = parseKeyLine(call.body.client_pubkey);
    const { isolation } = call.body;
    if (isolation !== undefined) parseIsolation(isolation); // what no agent takes gets no certificate
    const target = readTarget(call.body), session = call.body.session_id || undefined;
    const ca = await control.ca.now();
    if (ca.locked) throw caLocked(); // before a session is bound
    const finder = { ...control, isReady: (node: CaKnown) => isCaughtUp(ca.state, node) };
    const place = session === undefined
      ? { node: await findNode(user.accountId, target, finder), isolation, created: false }
      : await placeSession(user, session, { target, isolation }, call, finder);
    const { node } = place;
    const now = clock.now();
    const certificate = await ca.authority(userSigningKey(ca.state, node)).issueUserCert({
      key,
      userId: user.id,
      userName: user.name,
      accountId: user.accountId,
      nodeId: node.id,
      isolation: place.isolation,
      session,
      login: call.body.login, // whether the node takes it is its owner's to say
      now,
    });
    // before the answer: no certificate is in anybody's hands that is not on record
    await store.recordAudit([
      call.audit("dispatch", {
        subject: node.id,
        detail: {
          serial: String(certificate.serial),
          key: fingerprint(key.blob),
          isolation: place.isolation ?? null,
          session: session ?? null,
          login: call.body.login ?? null,
        },
      }),
    ]);
    // the one that this node's certificate is by: stock ssh believes it, and does not follow statements
    const keys = caLines({ host: nodeAuthority(ca.state, node), user: ca.pair.user });
    const body: DispatchAnswer = {
      node_id: node.id,
      node_name: node.name,
      addr: node.addr,
      host_pubkey: node.hostKey,
      ca_pubkey: keys.host_ca_pubkey,
      user_cert: certificateLine(certificate.blob),
      principal: user.name,
      session_created: place.created,
      ...keys,
      ...caChain(ca),
      server_time: Math.floor(now / 1000),
      isolation: place.isolation ?? "native",
    };
    return { status: 200, body };
  },
);

/** An empty text is what the Go CLI sends for none. */
function readTarget({ tag, node_id }: DispatchRequest): Target {
  if (tag && node_id) {
    throw new OpenboxError("bad_request", "A tag and a node were named: one of them says where");
  }
  if (node_id) return { kind: "node", node: node_id };
  return tag ? { kind: "tag", tag } : { kind: "any" };
}
