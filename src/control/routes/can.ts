import { type Ask, decide, type Decision, mayEver } from "../../access/decide.ts";
import { formatGrant } from "../../access/grant.ts";
import { CanAnswer, CanRequest } from "../../api/can.ts";
import { parseIsolation } from "../../isolation/spec.ts";
import type { Candidate, User } from "../../store/store.ts";
import { isCaughtUp } from "../ca_state.ts";
import { findNode, noNode, type Runner } from "../find_node.ts";
import { type Control, userRoute } from "../route.ts";
import { readTarget } from "../target.ts";
import { meantUser } from "./users.ts";

/** The answer that the call itself would get, without making it. About others only administrators may ask. */
export const can = userRoute(
  {
    method: "POST",
    path: "/v1/can",
    needs: "self",
    summary: "Whether somebody may do something, and by which rule",
    body: CanRequest,
    answers: { 200: CanAnswer },
    refuses: ["not_found", "isolation_invalid"],
  },
  async (call, caller, control) => {
    const { user: wanted, verb } = call.body;
    const user = await meantUser(caller, wanted, control.store);
    // of another user it is not known with which token he will come
    const rights = user === caller ? caller : await control.store.rights(user);
    const runner: Runner = { accountId: caller.accountId, ...rights };
    if (verb === "run") {
      return { status: 200, body: await canRun(call.body, user, runner, control) };
    }
    const ask: Ask = verb === "enroll" ? { verb, tags: call.body.tags ?? [] } : { verb };
    return { status: 200, body: toApi(user, verb, decide(runner, ask), undefined) };
  },
);

const NOWHERE: Ask = {
  verb: "run",
  node: { id: "", name: "", tags: [] },
  isolation: undefined,
  session: false,
  login: undefined,
};

async function canRun(
  body: CanRequest,
  user: User,
  runner: Runner,
  control: Pick<Control, "store" | "clock" | "ca">,
): Promise<CanAnswer> {
  const { isolation, login, session = false } = body;
  if (isolation !== undefined) parseIsolation(isolation);
  const target = readTarget(body);
  // who may run nothing learns of no node by asking
  if (!mayEver(runner, "run")) return toApi(user, "run", decide(runner, NOWHERE), undefined);
  const { state } = await control.ca.now();
  const finder = { ...control, isReady: (node: Candidate) => isCaughtUp(state, node) };
  const found = await findNode(runner, target, { isolation, login, session }, finder);
  if (found.kind === "node") return toApi(user, "run", found.judged.decision, found.node);
  const { message, code } = await noNode(runner, target, found.resolution, control);
  return { ...toApi(user, "run", { allowed: false, by: "rules", why: message }, undefined), code };
}

function toApi(
  { id, name }: User,
  verb: string,
  decision: Decision,
  node: Candidate | undefined,
): CanAnswer {
  const answer: CanAnswer = {
    allowed: decision.allowed,
    user_id: id,
    user_name: name,
    verb,
    rule: null,
    scope: null,
    node: node === undefined ? null : { id: node.id, name: node.name },
    isolation: null,
    login: null,
    why: null,
    code: null,
  };
  if (!decision.allowed) {
    return {
      ...answer,
      why: decision.why,
      code: decision.by === "rules" ? "not_allowed" : "scope",
    };
  }
  const { rule, scope, ask } = decision;
  return {
    ...answer,
    rule: { id: rule.id, name: rule.name, grant: formatGrant(rule.grant) },
    scope: scope === undefined ? null : formatGrant(scope),
    ...(ask.verb === "run" && { isolation: ask.isolation ?? null, login: ask.login ?? null }),
  };
}
