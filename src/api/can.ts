import * as v from "valibot";
import { isLogin } from "../names.ts";
import { idText, tagList } from "./fields.ts";

/** POST /v1/can: whether somebody may, and by which rule. */
export const CanRequest = v.strictObject({
  /** An id or a name; absent: the caller, with the token that asks. */
  user: v.optional(idText),
  verb: v.picklist(["read", "run", "enroll", "audit", "admin"]),
  /** Of `run`, as in a dispatch. */
  tag: v.optional(v.pipe(v.string(), v.maxLength(64))),
  node_id: v.optional(v.pipe(v.string(), v.maxLength(64))),
  session: v.optional(v.boolean(), false),
  isolation: v.optional(v.pipe(v.string(), v.maxLength(4096))),
  login: v.optional(v.pipe(v.string(), v.check(isLogin, "invalid login"))),
  /** Of `enroll`: those that the new nodes are to have. */
  tags: tagList,
});
export type CanRequest = v.InferInput<typeof CanRequest>;

export const CanAnswer = v.object({
  allowed: v.boolean(),
  user_id: v.string(),
  user_name: v.string(),
  verb: v.string(),
  /** The rule that allows it. */
  rule: v.nullable(v.object({ id: v.string(), name: v.string(), grant: v.string() })),
  /** The scope of the asking token that allows it; `null` where it has none, or another user was asked for. */
  scope: v.nullable(v.string()),
  /** Of `run`: which node it would be, where one was found. */
  node: v.nullable(v.object({ id: v.string(), name: v.string() })),
  /** What the certificate would name; `null`: the caller may choose. */
  isolation: v.nullable(v.string()),
  login: v.nullable(v.string()),
  /** Why not; with the code of the refusal. */
  why: v.nullable(v.string()),
  code: v.nullable(v.string()),
});
export type CanAnswer = v.InferOutput<typeof CanAnswer>;
