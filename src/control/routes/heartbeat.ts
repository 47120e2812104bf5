import { type HeartbeatAnswer, HeartbeatRequest } from "../../api/heartbeat.ts";
import type { NodeSession } from "../../api/sessions.ts";
import { OpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import type { SessionReport } from "../../store/store.ts";
import { checkNodeAddress } from "../address_policy.ts";
import { issueHostCert, needsHostCert } from "../host_cert.ts";
import { nodeRoute } from "../route.ts";

/** A node's sign of life. One that is refused changes nothing, the time it was heard included. */
export const heartbeat = nodeRoute(
  { method: "POST", path: "/v1/nodes/heartbeat", body: HeartbeatRequest },
  async (call, node, control) => {
    const { store, clock, loopback } = control;
    const { node_id, addr, version, boot_id, host_cert_serial, sessions = [] } = call.body;
    if (node_id !== node.id) {
      throw new OpenboxError("unauthorized", "The node token is another node's");
    }
    // the address it has was allowed when it came, by the rule of then
    const moved = addr !== undefined && addr !== node.addr;
    if (moved) checkNodeAddress(addr, { loopback });
    const now = clock.now();
    await store.recordBeat(node, { addr, version, bootId: boot_id, now });
    if (moved) log("control").info("node moved", { node: node.id, from: node.addr, to: addr });
    const ends = await store.recordSessions(node, sessions.map(fromApi), now);
    const renew = host_cert_serial !== undefined &&
      needsHostCert(node.hostCert, BigInt(host_cert_serial), now);
    const body: HeartbeatAnswer = {
      server_time: Math.floor(now / 1000),
      revocations: [],
      ...(ends.length > 0 &&
        { end_sessions: ends.map(({ userId, name }) => ({ user_id: userId, name })) }),
      ...(renew && { host_cert: await issueHostCert(node, call, control) }),
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
