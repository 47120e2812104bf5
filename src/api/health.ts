import * as v from "valibot";

/** GET /health */
export const Health = v.object({ status: v.literal("ok") });
