/** One thing that a set-up can have wrong: how it is looked at, and what is found. */
import { type AbortOptions, deadline } from "../../abort.ts";
import { OpenboxError, toOpenboxError } from "../../errors.ts";

export interface Finding {
  /** `warning`: it works, and may surprise. `none`: there is nothing to look at, as where no agent is. */
  readonly verdict: "ok" | "warning" | "wrong" | "none";
  readonly text: string;
  /** What mends it: a command, where one does. */
  readonly hint?: string;
}

export interface Check {
  /** One word or two, for the person and for `--json`. */
  readonly name: string;
  /** Several findings where it is about several things. What it throws is wrong. */
  look(options: Required<AbortOptions>): Promise<Finding | readonly Finding[]>;
}

export const ok = (text: string): Finding => ({ verdict: "ok", text });
export const none = (text: string): Finding => ({ verdict: "none", text });
export const warning = (text: string, hint?: string): Finding => ({
  verdict: "warning",
  text,
  ...(hint !== undefined && { hint }),
});
export const wrong = (text: string, hint?: string): Finding => ({
  ...warning(text, hint),
  verdict: "wrong",
});

/** An error says itself what mends it. */
export function toFinding(error: unknown): Finding {
  const { message, hint } = toOpenboxError(error);
  return wrong(message, hint);
}

/** For some hundred nodes that do not answer. */
const LOOK_MS = 120_000;

/** All that a check finds; never throws but for the signal. */
export async function findings(
  { look }: Check,
  options: Required<AbortOptions>,
): Promise<readonly Finding[]> {
  using limit = deadline(
    LOOK_MS,
    () => new OpenboxError("unavailable", `This took longer than ${LOOK_MS / 1000} s`),
    options,
  );
  try {
    return [await look(limit)].flat();
  } catch (error) {
    options.signal.throwIfAborted();
    return [toFinding(error)];
  }
}
