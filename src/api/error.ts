import * as v from "valibot";

/** The body of every answer that is not 2xx: flat, `error` being the text for a person. */
export const ErrorBody = v.object({
  error: v.string(),
  code: v.optional(v.string()),
  hint: v.optional(v.string()),
  request_id: v.optional(v.string()),
});
export type ErrorBody = v.InferOutput<typeof ErrorBody>;
