import { HeartbeatAnswer, HeartbeatRequest } from "../../api/heartbeat.ts";
import type { NodeSession } from "../../api/sessions.ts";
import { OpenboxError } from "../../errors.ts";
import { CA_KINDS, keysFingerprint } from "../../ca/trust.ts";
import { log } from "../../log.ts";
import type { EnrolledNode, HeldList, SessionReport } from "../../store/store.ts";
import { checkNodeAddress } from "../address_policy.ts";
import { issueHostCert, needsHostCert } from "../host_cert.ts";
import { isListDue } from "../revocation_lists.ts";
import { type Control, nodeRoute } from "../route.ts";
import { caChain } from "./whoami.ts";

/** A node's sign of life. One that is refused changes nothing, the time it was heard included. */
export const heartbeat = nodeRoute(
  {
    method: "POST",
    path: "/v1/nodes/heartbeat",
    summary: "A node's sign of life",
    body: HeartbeatRequest,
    answers: { 200: HeartbeatAnswer },
    refuses: ["node_cloned"],
  },
  async (call, node, control) => {
    const { store, clock, loopback } = control;
    const { node_id, addr, version, boot_id, host_cert_serial, sessions = [] } = call.body;
    const { ca_trusted: trusted } = call.body;
    const held = heldList(call.body);
    if (node_id !== node.id) {
      throw new OpenboxError("unauthorized", "The node token is another node's");
    }
    if (boot_id !== undefined && boot_id === node.bootRefused) {
      await store.recordClone(node, clock.now());
      throw cloned(node.id);
    }
    // the address it has was allowed when it came, by the rule of then
    const moved = addr !== undefined && addr !== node.addr;
    if (moved) checkNodeAddress(addr, { loopback });
    const now = clock.now();
    const holds = host_cert_serial === undefined ? undefined : BigInt(host_cert_serial);
    await store.recordBeat(node, {
      addr,
      version,
      bootId: boot_id,
      caAcknowledged: trusted?.user,
      certHeld: holds === node.hostCert?.serial ? node.hostCert?.authority : undefined,
      revocations: held,
      now,
    });
    if (moved) log("control").info("node moved", { node: node.id, from: node.addr, to: addr });
    const ends = await store.recordSessions(
      node,
      sessions.map(fromApi),
      now,
      call.audit("session.end"),
    );
    const ca = await control.ca.now();
    // a node lives on while the CA is sealed; its certificate has ten days for that
    const renew = holds !== undefined && !ca.locked &&
      needsHostCert(node.hostCert, holds, ca.state, now);
    const follows = trusted &&
      CA_KINDS.every((kind) => trusted[kind] === keysFingerprint(ca.state[kind].keys));
    const body: HeartbeatAnswer = {
      server_time: Math.floor(now / 1000),
      revocations: [],
      ...(ends.length > 0 &&
        { end_sessions: ends.map(({ userId, name }) => ({ user_id: userId, name })) }),
      ...await tellRevocations(node, held, control),
      ...(!follows && caChain(ca)),
      ...(renew && { host_cert: await issueHostCert(node, call, ca, control) }),
    };
    return { status: 200, body };
  },
);

/** A node that holds none yet names none. */
function heldList(
  { revocations_version: version, revocations_issued_at: issuedAt }: HeartbeatRequest,
): HeldList | undefined {
  if (version === undefined || issuedAt === undefined) return undefined;
  return { version, signedAt: issuedAt * 1000 };
}

async function tellRevocations(
  node: EnrolledNode,
  held: HeldList | undefined,
  { store, clock, revocationLists }: Control,
): Promise<Pick<HeartbeatAnswer, "revocation_list" | "send_revocations">> {
  const { accountId, revocationsVersion: version } = node;
  const isStrange = held !== undefined && held.version !== version &&
    !await store.knowsRevocationVersion(accountId, held.version);
  if (isStrange) return { send_revocations: true };
  if (!isListDue(held, version, clock.now())) return {};
  const list = await revocationLists.signed(accountId, version);
  return list === undefined ? {} : { revocation_list: list };
}
/** Two machines with one identity: the one that came later is not believed. */
const cloned = (id: string) =>
  new OpenboxError("node_cloned", `Another machine runs as the node ${id} and did so before`, {
    hint:
      "remove the copied home of the agent here, and enroll this machine with a token of its own",
  });

const fromApi = (session: NodeSession): SessionReport => ({
  userId: session.user_id,
  name: session.name,
  idleMs: session.idle_ms,
  lastExit: session.last_exit ?? undefined,
  state: session.state,
});
