import { DispatchAnswer, DispatchRequest } from "../../api/dispatch.ts";
import { parseIsolation } from "../../isolation/spec.ts";
import { certificateLine } from "../../ssh/certificate.ts";
import { caLocked } from "../ca.ts";
import { isCaughtUp, nodeAuthority, userSigningKey } from "../ca_state.ts";
import { parseKeyLine } from "../key_line.ts";
import { placeRun } from "../place_run.ts";
import { TooMany } from "../rate_limit.ts";
import { userRoute } from "../route.ts";
import { readTarget } from "../target.ts";
import { issueUserCert } from "../user_cert.ts";
import { caChain, caLines } from "./whoami.ts";

/** Which node, and a certificate for one call on it. */
export const dispatch = userRoute(
  {
    method: "POST",
    path: "/v1/dispatch",
    needs: "run",
    summary: "Which node, and a certificate for one call on it",
    body: DispatchRequest,
    answers: { 200: DispatchAnswer },
    refuses: [
      ...["node_not_found", "node_offline", "ambiguous", "target_required"] as const,
      ...["session_bound_elsewhere", "session_isolation_mismatch", "conflict"] as const,
      ...["isolation_invalid", "ca_locked", "revoked"] as const,
    ],
  },
  async (call, user, control) => {
    const { clock, dispatches } = control;
    const wait = dispatches.take(user.id);
    if (wait > 0) throw new TooMany("Too many calls at once by this user", wait);
    const key = parseKeyLine(call.body.client_pubkey);
    const { isolation } = call.body;
    if (isolation !== undefined) parseIsolation(isolation); // what no agent takes gets no certificate
    const ca = await control.ca.now();
    if (ca.locked) throw caLocked(); // before a session is bound
    const { run, created } = await placeRun(
      user,
      {
        target: readTarget(call.body),
        session: call.body.session_id || undefined,
        isolation,
        login: call.body.login || undefined,
      },
      call,
      { ...control, isReady: (node) => isCaughtUp(ca.state, node) },
    );
    const { node } = run;
    const certificate = await issueUserCert(run, key, call, {
      ...control,
      authority: ca.authority(userSigningKey(ca.state, node)),
    });
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
      session_created: created,
      ...keys,
      ...caChain(ca),
      server_time: Math.floor(clock.now() / 1000),
      isolation: run.isolation ?? "native",
    };
    return { status: 200, body };
  },
);
