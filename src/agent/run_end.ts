/** How a run ended, in the forms in which it is told: to our client, to a stock one, to the log. */
import { type Outcome, OUTCOME_REQUEST } from "../api/run.ts";
import { utf8 } from "../bytes.ts";
import type { OpenboxError } from "../errors.ts";
import { escape } from "../escape.ts";
import type { Exit } from "../isolation/backend.ts";
import type { RemoteExit, ServerChannel } from "../ssh/channel.ts";
import { isOurs } from "./run_request.ts";

export type Ended =
  | Exit
  | { readonly kind: "timeout" }
  | { readonly kind: "not_started"; readonly error: OpenboxError };

const TIMEOUT = 124, NOT_STARTED = 255;

/** Ends the channel. */
export async function tell(ended: Ended, channel: ServerChannel<unknown>): Promise<void> {
  if (isOurs(channel)) {
    channel.sendRequest(OUTCOME_REQUEST, utf8(JSON.stringify(toOutcome(ended))));
  } else if (ended.kind === "not_started") {
    const { code, message, hint } = ended.error;
    const lines = [
      `openbox: ${code}: ${escape(message)}`,
      ...(hint ? [`  hint: ${escape(hint)}`] : []),
    ];
    await channel.write("stderr", utf8(lines.join("\n") + "\n"));
  }
  await channel.end(toRemoteExit(ended));
}

function toOutcome(ended: Ended): Outcome {
  const rest = { signal: null, error: null, session: null };
  switch (ended.kind) {
    case "exit":
      return { ...rest, outcome: "exit", code: ended.code };
    case "signal":
      return { ...rest, outcome: "signal", code: 128 + ended.number, signal: ended.signal };
    case "timeout":
      return { ...rest, outcome: "timeout", code: TIMEOUT };
    case "not_started": {
      const { code, message, hint } = ended.error;
      return {
        ...rest,
        outcome: "not_started",
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
      return { kind: "exit", code: NOT_STARTED };
  }
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
      return { outcome: "not_started", why: ended.error.code };
  }
}
