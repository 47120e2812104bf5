import * as v from "valibot";

/** Of one call, so that the body stays within the limit of the control plane's calls. */
export const MAX_RUN_EVENTS = 100;

/** Postgres takes no zero byte. */
const noZero = v.regex(/^[^\0]*$/, "no zero bytes");
const short = v.pipe(v.string(), v.maxLength(128), noZero);
const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** Epoch milliseconds, as far as a Date reaches. */
const instant = v.pipe(whole, v.maxValue(8.64e15));

/** A run began on the node. What of its command is told is the node's owner's to say. */
const RunStarted = v.object({
  kind: v.literal("start"),
  /** Rises with each event of a spool. */
  n: whole,
  /** By the node's clock. */
  at_ms: instant,
  run_id: v.nullable(short),
  user_id: short,
  /** Of the certificate, decimal. */
  serial: short,
  token_id: v.nullable(short),
  session: v.nullable(short),
  isolation: v.nullable(v.pipe(v.string(), v.maxLength(512), noZero)),
  login: v.nullable(short),
  program: v.nullable(short),
  command_sha256: v.nullable(short),
  command: v.nullable(v.pipe(v.string(), v.maxLength(1024), noZero)),
});
/** It ended; `lost`: the agent ended before it did. */
const RunEnded = v.object({
  kind: v.literal("end"),
  n: whole,
  at_ms: instant,
  /** The `n` of its start. */
  start: whole,
  run_id: v.nullable(short),
  user_id: short,
  serial: short,
  outcome: v.picklist(["exit", "signal", "timeout", "not_started", "lost"]),
  code: v.nullable(v.pipe(v.number(), v.safeInteger())),
  signal: v.nullable(short),
  error: v.nullable(short),
  duration_ms: v.nullable(whole),
});
/** So many events were not kept, while the control plane did not answer for too long. */
const RunGap = v.object({ kind: v.literal("gap"), n: whole, at_ms: instant, dropped: whole });

export const RunEvent = v.variant("kind", [RunStarted, RunEnded, RunGap]);
export type RunEvent = v.InferOutput<typeof RunEvent>;
export type RunStarted = v.InferOutput<typeof RunStarted>;
export type RunEnded = v.InferOutput<typeof RunEnded>;

/** POST /v1/nodes/runs, with the node's token as bearer: what happened since, in its order. */
export const RunEvents = v.object({
  /** Which counting `n` belongs to: a node that lost its spool begins another. */
  spool: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/)),
  events: v.pipe(v.array(RunEvent), v.minLength(1), v.maxLength(MAX_RUN_EVENTS)),
});
export type RunEvents = v.InferOutput<typeof RunEvents>;
