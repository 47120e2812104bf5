/** A command line as an argument of `/bin/sh -c`, where it can be one. */

/** Undefined where it is no text, which an argument is in Deno. */
export function asArgument(line: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
  } catch {
    return undefined;
  }
}

/** Of bytes; Linux takes 128 KiB. */
const MAX_ARGUMENT = 100_000;

/** As `asArgument`, and undefined for what is longer than any system takes. */
export const asShortArgument = (line: Uint8Array): string | undefined =>
  line.length <= MAX_ARGUMENT ? asArgument(line) : undefined;

/** What begins like an option of the shell would be one. */
export const shellArgv = (line: string): string[] => [
  ...["/bin/sh", "-c", ...(/^[-+]/.test(line) ? ["--"] : []), line],
];
