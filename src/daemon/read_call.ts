/** What a client asks, from JSON to what the rest takes: strict, since a key that is not known would not be held. */
import * as v from "valibot";
import { RunRequest } from "../api/run.ts";
import { type IsolationSpec, parseIsolation } from "../isolation/spec.ts";
import type { Ask, Call } from "../ipc/messages.ts";

const text = v.pipe(v.string(), v.maxLength(4096));

const Isolation = v.variant("kind", [
  v.strictObject({ kind: v.literal("native") }),
  v.strictObject({ kind: v.literal("docker"), image: text }),
  v.strictObject({ kind: v.literal("nspawn"), root: text }),
]);

const { limits, mounts, gpus, net, volatile, pty } = RunRequest.entries;

const CallFrame = v.strictObject({
  run_id: RunRequest.entries.run_id,
  target: v.strictObject({
    tag: v.optional(text),
    node: v.optional(text),
    session: v.optional(text),
    isolation: v.optional(Isolation),
    login: v.optional(text),
  }),
  command: v.strictObject({
    line: v.optional(v.string()),
    terminal: pty,
    env: v.optional(v.record(v.string(), v.string())),
    cwd: v.optional(v.string()),
    timeoutMs: RunRequest.entries.timeout_ms,
    limits: v.optional(v.strictObject({ limits, mounts, gpus, net, volatile })),
  }),
});

const AskFrame = v.variant("ask", [
  v.strictObject({ ask: v.picklist(["status", "stop", "retire"]) }),
  v.strictObject({ ask: v.literal("forget"), session: text }),
]);

/** Undefined where it is none. */
export function readCall(json: unknown): Call | undefined {
  const read = v.safeParse(CallFrame, json);
  if (!read.success) return undefined;
  const { run_id, target, command } = read.output;
  return { run_id, target: { ...target, isolation: exact(target.isolation) }, command };
}

/** By the one parser: what the CLI has read is read here once more, as everything from outside. */
function exact(spec: IsolationSpec | undefined): IsolationSpec | undefined {
  if (spec?.kind === "docker") return parseIsolation(`docker:${spec.image}`);
  if (spec?.kind === "nspawn") return parseIsolation(`nspawn:${spec.root}`);
  return spec;
}

/** Undefined where it is none. */
export function readAsk(json: unknown): Ask | undefined {
  const read = v.safeParse(AskFrame, json);
  return read.success ? read.output : undefined;
}
