/** What no process of this machine can get, refused before anything starts. */
import { type AbortOptions, abortReason } from "../abort.ts";
import { OpenboxError } from "../errors.ts";
import type { Command } from "./backend.ts";

/** Throws `bad_request` or `bad_environment`, and the signal's reason where it aborted. */
export function requireRunnable(
  { line, env }: Pick<Command, "env"> & Partial<Command>,
  { signal }: AbortOptions,
): void {
  if (line?.includes(0)) throw new OpenboxError("bad_request", "The command holds a NUL byte");
  for (const [name, value] of Object.entries(env)) {
    if (name === "" || /[=\0]/.test(name) || value.includes("\0")) throw unsettable(name);
  }
  if (signal?.aborted) throw abortReason(signal);
}

export const unsettable = (name: string) =>
  new OpenboxError(
    "bad_environment",
    `The variable ${JSON.stringify(name.slice(0, 80))} cannot be set`,
  );
