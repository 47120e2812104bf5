import * as v from "valibot";
import { grantText, idText, nameText } from "./fields.ts";

/** POST /v1/rules: what a user may do besides what he may already. */
export const NewRule = v.strictObject({
  /** An id or a name. */
  user: idText,
  grant: grantText,
  /** Absent: the grant's verb, with a number where that is taken. */
  name: v.optional(nameText("name")),
});
export type NewRule = v.InferOutput<typeof NewRule>;

export const Rule = v.object({
  id: v.string(),
  user_id: v.string(),
  /** What a decision is explained with. */
  name: v.string(),
  grant: v.string(),
  /** Epoch seconds. */
  created_at: v.number(),
});
export type Rule = v.InferOutput<typeof Rule>;

export const RuleList = v.object({ rules: v.array(Rule) });
