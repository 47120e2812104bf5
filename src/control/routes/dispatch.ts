import { type DispatchAnswer, DispatchRequest } from "../../api/dispatch.ts";
import { OpenboxError } from "../../errors.ts";
import { parseIsolation } from "../../isolation/spec.ts";
import { certificateLine } from "../../ssh/certificate.ts";
import type { Candidate, Target } from "../../store/store.ts";
import { parseKeyLine } from "../key_line.ts";
import { TooMany } from "../rate_limit.ts";
import { refusal, resolve } from "../resolve.ts";
import { type Control, userRoute } from "../route.ts";
import { caLines } from "./whoami.ts";

/** Which node, and a certificate for one call on it. */
export const dispatch = userRoute(
  { method: "POST", path: "/v1/dispatch", body: DispatchRequest },
  async (call, user, control) => {
    const { authority, clock, dispatches } = control;
    const wait = dispatches.take(user.id);
    if (wait > 0) throw new TooMany("Too many calls at once by this user", wait);
    refuseLater(call.body);
    const key = parseKeyLine(call.body.client_pubkey);
    const { isolation } = call.body;
    if (isolation !== undefined) parseIsolation(isolation); // what no agent takes gets no certificate
    const node = await findNode(user.accountId, readTarget(call.body), control);
    const now = clock.now();
    const certificate = await authority.issueUserCert({
      key,
      userId: user.id,
      userName: user.name,
      accountId: user.accountId,
      nodeId: node.id,
      isolation,
      now,
    });
    const keys = caLines(authority.publicKeys);
    const body: DispatchAnswer = {
      node_id: node.id,
      node_name: node.name,
      addr: node.addr,
      host_pubkey: node.hostKey,
      ca_pubkey: keys.host_ca_pubkey,
      user_cert: certificateLine(certificate.blob),
      principal: user.name,
      session_created: false,
      ...keys,
      server_time: Math.floor(now / 1000),
      isolation: isolation ?? "native",
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

async function findNode(
  accountId: string,
  target: Target,
  { store, clock }: Pick<Control, "store" | "clock">,
): Promise<Candidate> {
  const now = clock.now();
  const resolution = resolve(target, await store.candidates(accountId, target), now);
  if (resolution.kind === "found") return resolution.node;
  const [tags, nodes] = await Promise.all([store.tags(accountId), store.nodes(accountId, {})]);
  throw refusal(target, resolution, { tags, nodes }, now);
}

/** What comes with a later version is refused here, before it could be taken for something else. */
function refuseLater({ session_id, login }: DispatchRequest): void {
  const asked = session_id ? "Sessions" : login ? "Another login" : undefined;
  if (asked === undefined) return;
  throw new OpenboxError("not_supported", `${asked}: not in this version of openbox`, {
    hint: "leave it out: each command then runs on its own, as the agent's user",
  });
}
