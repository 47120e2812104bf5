import { NewRule, Rule as ApiRule, RuleList } from "../../api/rules.ts";
import { parseGrant } from "../../access/grant.ts";
import { OpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import type { RuleRecord } from "../../store/store.ts";
import { userRoute } from "../route.ts";
import { findUser } from "./users.ts";

/** Of all users, or of the one in `?user=`. */
export const listRules = userRoute(
  {
    method: "GET",
    path: "/v1/rules",
    needs: "admin",
    summary: "The rules of all users, or of one",
    query: { user: "only those of this user: an id or a name" },
    answers: { 200: RuleList },
    refuses: ["not_found"],
  },
  async (call, { accountId }, { store }) => {
    const wanted = call.query("user");
    const user = wanted === undefined ? undefined : await findUser(store, accountId, wanted);
    const rules = await store.rules(accountId, user?.id);
    return { status: 200, body: { rules: rules.map(ruleToApi) } };
  },
);

export const createRule = userRoute(
  {
    method: "POST",
    path: "/v1/rules",
    needs: "admin",
    summary: "Allow a user something more",
    body: NewRule,
    answers: { 201: ApiRule },
    refuses: ["not_found", "grant_invalid", "conflict", "quota"],
  },
  async (call, { accountId, id: createdBy }, { store, clock }) => {
    const { grant: text, name } = call.body, grant = parseGrant(text);
    const user = await findUser(store, accountId, call.body.user);
    const rule = await store.addRule(
      { user, grant, name, createdBy, now: clock.now() },
      call.audit("rule.add", { detail: { user: user.id, grant: text } }),
    );
    log("control").info("rule added", { rule: rule.id, user: user.id, grant: text, by: createdBy });
    return { status: 201, body: ruleToApi(rule) };
  },
);

export const deleteRule = userRoute(
  {
    method: "DELETE",
    path: "/v1/rules/:id",
    needs: "admin",
    summary: "Take a rule away",
    query: { force: "`true`: also where nobody is left who may administer the account" },
    answers: { 204: null },
    refuses: ["not_found", "conflict"],
  },
  async (call, { accountId, id: by }, { store, clock }) => {
    const id = call.param("id"), force = call.query("force") === "true";
    const change = { now: clock.now(), force };
    const audit = call.audit("rule.remove", { subject: id, detail: { force } });
    if (!await store.removeRule(accountId, id, change, audit)) {
      throw new OpenboxError("not_found", `no rule has the id ${JSON.stringify(id)}`, {
        hint: "openbox rule list",
      });
    }
    log("control").info("rule removed", { rule: id, by });
    return { status: 204 };
  },
);

export const ruleToApi = ({ id, userId, name, grant, createdAt }: RuleRecord): ApiRule => ({
  id,
  user_id: userId,
  name,
  grant,
  created_at: Math.floor(createdAt / 1000),
});
