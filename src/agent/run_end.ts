/** How a run ended, in the forms in which it is told: to our client, to a stock one, to the log. */
import { type Outcome, OUTCOME_REQUEST } from "../api/run.ts";
import type { RunEnded } from "../api/run_events.ts";
import { utf8 } from "../bytes.ts";
import type { OpenboxError } from "../errors.ts";
import { escape } from "../escape.ts";
import type { Exit } from "../isolation/backend.ts";
import type { RemoteExit, ServerChannel } from "../ssh/channel.ts";
import { isOurs } from "./run_request.ts";

export type Ended =
  | Exit
  | { readonly kind: "timeout" }
  /** `lost` is a session's that was there, and is no more. */
  | { readonly kind: "not_started" | "lost"; readonly error: OpenboxError };

/** What became of the session of a run; absent where it had none. */
export type SessionEnd = NonNullable<Outcome["session"]>;

const TIMEOUT = 124, NOT_STARTED = 255;

/** Ends the channel. */
export async function tell(
  ended: Ended,
  channel: ServerChannel<unknown>,
  session?: SessionEnd,
): Promise<void> {
  if (isOurs(channel)) {
    channel.sendRequest(OUTCOME_REQUEST, utf8(JSON.stringify(toOutcome(ended, session))));
  } else if (ended.kind === "not_started" || ended.kind === "lost") {
    const { code, message, hint } = ended.error;
    const lines = [
      `openbox: ${code}: ${escape(message)}`,
      ...(hint ? [`  hint: ${escape(hint)}`] : []),
    ];
    await channel.write("stderr", utf8(lines.join("\n") + "\n"));
  }
  await channel.end(toRemoteExit(ended));
}

function toOutcome(ended: Ended, session: SessionEnd | undefined): Outcome {
  const rest = { signal: null, error: null, session: session ?? null };
  switch (ended.kind) {
    case "exit":
      return { ...rest, outcome: "exit", code: ended.code };
    case "signal":
      return { ...rest, outcome: "signal", code: 128 + ended.number, signal: ended.signal };
    case "timeout":
      return { ...rest, outcome: "timeout", code: TIMEOUT };
    case "not_started":
    case "lost": {
      const { code, message, hint } = ended.error;
      return {
        ...rest,
        outcome: ended.kind,
        code: NOT_STARTED,
        error: { code, message, hint: hint ?? null },
      };
    }
  }
}

/** The signals that RFC 4254 names; others carry our domain. */
const STANDARD: ReadonlySet<string> = new Set(
  "ABRT ALRM FPE HUP ILL INT KILL PIPE QUIT SEGV TERM USR1 USR2".split(" "),
);

function toRemoteExit(ended: Ended): RemoteExit {
  switch (ended.kind) {
    case "exit":
      return ended;
    case "signal":
      return {
        kind: "signal",
        signal: STANDARD.has(ended.signal) ? ended.signal : `${ended.signal}@openbox.io`,
      };
    case "timeout":
      return { kind: "exit", code: TIMEOUT };
    case "not_started":
    case "lost":
      return { kind: "exit", code: NOT_STARTED };
  }
}

/** As the audit is told. */
export function toRunEnded(
  ended: Ended,
): Pick<RunEnded, "outcome" | "code" | "signal" | "error"> {
  const { outcome, code, signal, error } = toOutcome(ended, undefined);
  return { outcome, code, signal: signal ?? null, error: error?.code ?? null };
}

export function logFields(ended: Ended): Record<string, unknown> {
  switch (ended.kind) {
    case "exit":
      return { outcome: "exit", code: ended.code };
    case "signal":
      return { outcome: "signal", signal: ended.signal };
    case "timeout":
      return { outcome: "timeout" };
    case "not_started":
    case "lost":
      return { outcome: ended.kind, why: ended.error.code };
  }
}
