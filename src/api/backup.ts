import * as v from "valibot";
import { CaPassphrase } from "./ca.ts";

/** POST /v1/backup. The CA's keys go along under the passphrase; sealed ones as they lie, without it. */
export const BackupRequest = v.strictObject({
  ...v.partial(CaPassphrase).entries,
  without_ca: v.optional(v.boolean(), false),
});
export type BackupRequest = v.InferInput<typeof BackupRequest>;
