import { type Session as ApiSession, SessionList } from "../../api/sessions.ts";
import { OpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import type { Session } from "../../store/store.ts";
import { requireJudged } from "../allow.ts";
import { judgeSessions } from "../find_node.ts";
import { isOnline } from "../resolve.ts";
import { userRoute } from "../route.ts";

/** The caller's own, where he may use them. */
export const listSessions = userRoute(
  {
    method: "GET",
    path: "/v1/sessions",
    needs: "run",
    summary: "The caller's sessions, most recently used first",
    answers: { 200: SessionList },
  },
  async (_call, user, { store, clock }) => {
    const judged = await judgeSessions(user, { store });
    const open = (await store.sessions(user)).filter((one) => judged(one).decision.allowed);
    return { status: 200, body: { sessions: open.map((one) => toApi(one, clock.now())) } };
  },
);

/** Unbinds it, and has its node end it; `?ended=true` says that the caller has ended it there already. */
export const deleteSession = userRoute(
  {
    method: "DELETE",
    path: "/v1/sessions/:id",
    needs: "run",
    summary: "End a session of the caller's",
    query: { ended: "`true`: the caller has ended it on its node already" },
    answers: { 204: null },
    refuses: ["not_found"],
  },
  async (call, user, { store, clock }) => {
    const name = call.param("id"), ended = call.query("ended") === "true";
    const session = (await store.sessions(user)).find((one) => one.name === name);
    if (session) requireJudged(user, (await judgeSessions(user, { store }))(session));
    const audit = call.audit("session.unbind", { subject: name, detail: { ended } });
    if (!await store.unbindSession(user, name, { ended, now: clock.now() }, audit)) {
      throw new OpenboxError("not_found", `you have no session ${JSON.stringify(name)}`, {
        hint: "openbox sessions",
      });
    }
    log("control").info("session unbound", { session: name, by: user.id });
    return { status: 204 };
  },
);

const toApi = (session: Session, now: number): ApiSession => ({
  session_id: session.name,
  node_id: session.nodeId,
  node_name: session.nodeName,
  created_at: Math.floor(session.createdAt / 1000),
  last_used: Math.floor(session.lastUsedAt / 1000),
  isolation: session.isolation,
  idle_ms: session.state === "busy" ? 0 : Math.max(0, now - session.lastUsedAt),
  last_exit: session.lastExit ?? null,
  state: isOnline(session.nodeSeenAt, now) ? session.state : "offline",
});
