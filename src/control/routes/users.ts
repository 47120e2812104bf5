import { NewUser, User as ApiUser, UserList } from "../../api/users.ts";
import { parseGrant } from "../../access/grant.ts";
import { OpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import type { Store, TokenUser, User, UserRecord } from "../../store/store.ts";
import { requireAllowed } from "../allow.ts";
import { userRoute } from "../route.ts";
import { ruleToApi } from "./rules.ts";

export const listUsers = userRoute(
  {
    method: "GET",
    path: "/v1/users",
    needs: "admin",
    summary: "The users of the account",
    answers: { 200: UserList },
  },
  async (_call, { accountId }, { store, clock }) => {
    const users = await store.users(accountId, clock.now());
    return { status: 200, body: { users: users.map(toApi) } };
  },
);

export const createUser = userRoute(
  {
    method: "POST",
    path: "/v1/users",
    needs: "admin",
    summary: "Add a user",
    body: NewUser,
    answers: { 201: ApiUser },
    refuses: ["grant_invalid", "conflict", "quota"],
  },
  async (call, { accountId, id: createdBy }, { store, clock }) => {
    const { name, rules: texts } = call.body, now = clock.now();
    const rules = texts?.map(parseGrant);
    const user = await store.addUser(
      { accountId, name, rules, createdBy, now },
      call.audit("user.add", { detail: { name, rules: texts?.join(" ") ?? null } }),
    );
    log("control").info("user added", { user: user.id, name, by: createdBy });
    const record: UserRecord = {
      ...user,
      createdAt: now,
      rules: await store.rules(accountId, user.id),
      tokens: 0,
    };
    return { status: 201, body: toApi(record) };
  },
);

export const deleteUser = userRoute(
  {
    method: "DELETE",
    path: "/v1/users/:id",
    needs: "admin",
    summary: "Remove a user, with his tokens and sessions",
    query: {
      force: "`true`: also where nobody is left who may administer the account",
      keep_made: "`true`: what was made with his tokens stays",
    },
    answers: { 204: null },
    refuses: ["not_found", "conflict"],
  },
  async (call, { accountId, id: by }, { store, clock }) => {
    const id = call.param("id"), force = call.query("force") === "true";
    const keepMade = call.query("keep_made") === "true";
    const change = { now: clock.now(), force, keepMade };
    const audit = call.audit("user.remove", { subject: id, detail: { force, keep: keepMade } });
    if (!await store.removeUser(accountId, id, change, audit)) throw noUser(id);
    log("control").info("user removed", { user: id, by });
    return { status: 204 };
  },
);

/** Whom a caller means: himself by saying nothing, his id or his name, anybody else only as an administrator. */
export async function meantUser(
  caller: TokenUser,
  wanted: string | undefined,
  store: Pick<Store, "user">,
): Promise<User> {
  if (wanted === undefined || wanted === caller.id || wanted === caller.name) return caller;
  requireAllowed(caller, { verb: "admin" });
  return await findUser(store, caller.accountId, wanted);
}

/** By id, else by name. Another account's is not there. */
export async function findUser(
  store: Pick<Store, "user">,
  accountId: string,
  wanted: string,
): Promise<User> {
  const user = await store.user(accountId, wanted);
  if (user) return user;
  throw noUser(wanted);
}

const noUser = (wanted: string) =>
  new OpenboxError("not_found", `no user has the id or name ${JSON.stringify(wanted)}`, {
    hint: "openbox user list",
  });

const toApi = ({ id, name, createdAt, rules, tokens }: UserRecord): ApiUser => ({
  id,
  name,
  created_at: Math.floor(createdAt / 1000),
  rules: rules.map(ruleToApi),
  tokens,
});
