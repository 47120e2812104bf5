/** What the CLI prints, and where: results on stdout, whatever is about the call on stderr, errors in one form. */
import { utf8 } from "../bytes.ts";
import type { OpenboxError } from "../errors.ts";
import { escape } from "../escape.ts";
import { BrokenPipe, type Host } from "../host.ts";

type Streams = Pick<Host, "stdout" | "stderr">;

/** A line; what a peer put into it cannot move the cursor or make a second one. */
export const printLine = (text: string, { stdout }: Streams): Promise<void> =>
  stdout.write(utf8(`${escape(text)}\n`));

/** One document, for programs: indented, since people look at it too. */
export const printJson = (document: unknown, { stdout }: Streams): Promise<void> =>
  stdout.write(utf8(`${JSON.stringify(document, null, 2)}\n`));

/** A remark about the call. */
export const printNote = (text: string, host: Streams): Promise<void> => remark(escape(text), host);

export const printWarning = (text: string, host: Streams): Promise<void> =>
  printNote(`warning: ${text}`, host);

/** `openbox: CODE: what failed`, and below it the way out. */
export function printError(error: OpenboxError, host: Streams): Promise<void> {
  const hint = error.hint === undefined ? "" : `\n  hint: ${escape(error.hint)}`;
  return remark(`${error.code}: ${escape(error.message)}${hint}`, host);
}

/** It never stands in the way: a stderr that nobody reads is no failure. */
async function remark(text: string, { stderr }: Streams): Promise<void> {
  try {
    await stderr.write(utf8(`openbox: ${text}\n`));
  } catch (error) {
    if (!(error instanceof BrokenPipe)) throw error;
  }
}

/** An error as `--json` shows it. */
export const errorDocument = ({ code, message, hint }: OpenboxError) => ({
  code,
  message,
  hint: hint ?? null,
});
