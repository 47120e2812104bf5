import { type HeartbeatAnswer, HeartbeatRequest } from "../../api/heartbeat.ts";
import type { NodeSession } from "../../api/sessions.ts";
import { OpenboxError } from "../../errors.ts";
import { CA_KINDS, keysFingerprint } from "../../ca/trust.ts";
import { log } from "../../log.ts";
import type { SessionReport } from "../../store/store.ts";
import { checkNodeAddress } from "../address_policy.ts";
import { issueHostCert, needsHostCert } from "../host_cert.ts";
import { nodeRoute } from "../route.ts";
import { caChain } from "./whoami.ts";

/** A node's sign of life. One that is refused changes nothing, the time it was heard included. */
export const heartbeat = nodeRoute(
  { method: "POST", path: "/v1/nodes/heartbeat", body: HeartbeatRequest },
  async (call, node, control) => {
    const { store, clock, loopback } = control;
    const { node_id, addr, version, boot_id, host_cert_serial, sessions = [] } = call.body;
    const { ca_trusted: trusted } = call.body;
    if (node_id !== node.id) {
      throw new OpenboxError("unauthorized", "The node token is another node's");
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
      ...(!follows && caChain(ca)),
      ...(renew && { host_cert: await issueHostCert(node, call, ca, control) }),
    };
    return { status: 200, body };
  },
);

const fromApi = (session: NodeSession): SessionReport => ({
  userId: session.user_id,
  name: session.name,
  idleMs: session.idle_ms,
  lastExit: session.last_exit ?? undefined,
  state: session.state,
});
