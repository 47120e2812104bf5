/** What travels on the subsystem `openbox-run@openbox.io`: the request before stdin, the outcome before the exit. */
import * as v from "valibot";

export const RUN_SUBSYSTEM = "openbox-run@openbox.io";
export const OUTCOME_REQUEST = "openbox-outcome@openbox.io";
/** A line of text on how far it is, before the command has started; empty once that is over. */
export const PROGRESS_REQUEST = "openbox-progress@openbox.io";
/** The request's JSON, in bytes: more is `command_too_long`, on both ends. */
export const MAX_RUN_REQUEST = 8 * 1024 * 1024;

const limit = v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1)));

/** Strict: an unknown key is something that this agent would not enforce, so it is refused (`upgrade_required`). */
export const RunRequest = v.strictObject({
  kind: v.picklist(["run", "end_session"]),
  run_id: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/)),
  /** base64 of the line for the shell; absent: the login shell */
  command: v.optional(v.string()),
  env: v.optional(v.record(v.string(), v.string()), {}),
  cwd: v.optional(v.string()),
  timeout_ms: limit,
  pty: v.optional(v.strictObject({ term: v.string(), cols: v.number(), rows: v.number() })),
  limits: v.optional(
    v.strictObject({
      memory_bytes: limit,
      /** Of the machine's cores, in parts. */
      cpus: v.optional(v.pipe(v.number(), v.finite(), v.gtValue(0))),
      pids: limit,
      shm_bytes: limit,
    }),
  ),
  /** `SRC[:DST[:ro]]` each */
  mounts: v.optional(v.pipe(v.array(v.string()), v.maxLength(64))),
  /** `all`, a count, or `device=ID,…` */
  gpus: v.optional(v.string()),
  net: v.optional(v.picklist(["bridge", "host", "none"])),
  volatile: v.optional(v.boolean()),
});
export type RunRequest = v.InferInput<typeof RunRequest>;

/** What is to be held besides the isolation. */
export type RunLimits = Pick<RunRequest, "limits" | "mounts" | "gpus" | "net" | "volatile">;

/** How a run ended, as the node knows it. `lost` comes from a node only for sessions; a caller says it of connections. */
export const Outcome = v.object({
  outcome: v.picklist(["exit", "signal", "timeout", "not_started", "lost"]),
  /** Of an exit; 128 + n of a signal; 124 of a time-out; 255 else. */
  code: v.number(),
  /** Name without SIG, of a signal. */
  signal: v.nullish(v.string(), null),
  error: v.nullish(
    v.object({ code: v.string(), message: v.string(), hint: v.nullish(v.string(), null) }),
    null,
  ),
  session: v.nullish(v.object({ created: v.boolean(), ended: v.boolean() }), null),
});
export type Outcome = v.InferOutput<typeof Outcome>;
