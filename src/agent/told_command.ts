/** What of a command the audit is told: as much as the node's owner allows, and never its input or output. */
import { createHash } from "node:crypto";
import type { RunStarted } from "../api/run_events.ts";
import { text } from "../bytes.ts";

/**
 * `program`: the program's name and the SHA-256 of the line, by which equal commands are known again;
 * `hash`: that alone; `full`: the line too; `none`: nothing.
 */
export const COMMAND_POLICIES = ["program", "hash", "full", "none"] as const;
export type CommandPolicy = typeof COMMAND_POLICIES[number];

const MAX_CHARACTERS = 1024;
/** A first word that is surely a program: no assignment, no quotes, nothing that a secret could hide in for long. */
const PROGRAM = /^[A-Za-z0-9_./+-]{1,64}(?=\s|$)/;

/** `line` is undefined for a login shell. */
export function toldCommand(
  line: Uint8Array | undefined,
  policy: CommandPolicy,
): Pick<RunStarted, "program" | "command_sha256" | "command"> {
  if (line === undefined || policy === "none") {
    return { program: null, command_sha256: null, command: null };
  }
  const shown = text(line.subarray(0, 4 * MAX_CHARACTERS));
  return {
    program: policy === "hash" ? null : PROGRAM.exec(shown)?.[0] ?? null,
    command_sha256: createHash("sha256").update(line).digest("hex"),
    command: policy === "full" ? toldText(shown, MAX_CHARACTERS) : null,
  };
}

/** The beginning of a text, in a form that travels in JSON and lies in any database. */
export const toldText = (text: string | undefined, most: number): string | null =>
  text === undefined ? null : text.slice(0, most).toWellFormed().replaceAll("\0", "\ufffd");
