import * as v from "valibot";
import { grantText, idText, nameText } from "./fields.ts";

const DAY = 86_400;
/** How long a user token may live; `standard` unless said. */
export const TOKEN_TTL_SECONDS = { min: 60, standard: 90 * DAY, max: 365 * DAY } as const;

const MAX_SCOPES = 16;

/** POST /v1/tokens */
export const NewToken = v.strictObject({
  /** An id or a name; absent: the caller. */
  user: v.optional(idText),
  name: v.optional(nameText("name"), "token"),
  /** Absent: all that the user may. */
  scopes: v.optional(
    v.pipe(
      v.array(grantText),
      v.minLength(1, "scopes must not be empty: such a token could do nothing"),
      v.maxLength(MAX_SCOPES),
    ),
  ),
  ttl_seconds: v.optional(
    v.pipe(
      v.number(),
      v.safeInteger("ttl_seconds must be a whole number"),
      v.minValue(TOKEN_TTL_SECONDS.min, `ttl_seconds must be ${TOKEN_TTL_SECONDS.min} or more`),
      v.maxValue(TOKEN_TTL_SECONDS.max, "ttl_seconds must be a year or less"),
    ),
  ),
});
export type NewToken = v.InferInput<typeof NewToken>;

/** Times in epoch seconds. */
const about = {
  id: v.string(),
  name: v.string(),
  user_id: v.string(),
  user_name: v.string(),
  /** `null`: all that the user may. */
  scopes: v.nullable(v.array(v.string())),
  created_at: v.number(),
  expires_at: v.number(),
};

/** The only answer with the token itself. */
export const CreatedToken = v.object({ token: v.string(), ...about });
export type CreatedToken = v.InferOutput<typeof CreatedToken>;

export const Token = v.object({
  ...about,
  last_used: v.nullable(v.number()),
  /** The token that it was made with, and with which it is revoked. */
  made_with: v.nullable(v.string()),
  /** It is the one that asks. */
  current: v.boolean(),
});
export type Token = v.InferOutput<typeof Token>;

export const TokenList = v.object({ tokens: v.array(Token) });
