import * as v from "valibot";
import { grantText, nameText } from "./fields.ts";
import { Rule } from "./rules.ts";

const MAX_RULES = 64;

/** POST /v1/users. Without `rules` the user has those of every new one. */
export const NewUser = v.strictObject({
  name: v.pipe(
    nameText("name"),
    v.check((name) => !/^usr_[0-9a-f]{12}$/.test(name), "invalid name: it looks like an id"),
  ),
  rules: v.optional(v.pipe(v.array(grantText), v.maxLength(MAX_RULES))),
});
export type NewUser = v.InferOutput<typeof NewUser>;

export const User = v.object({
  id: v.string(),
  name: v.string(),
  /** Epoch seconds. */
  created_at: v.number(),
  rules: v.array(Rule),
  /** How many are good. */
  tokens: v.number(),
});
export type User = v.InferOutput<typeof User>;

export const UserList = v.object({ users: v.array(User) });
