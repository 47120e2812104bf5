import { quoteWord } from "../shell_word.ts";

/**
 * The shell line for what stood on our command line (docs/protocol.md › Words): one word is a line
 * already, of several each is quoted where it needs it, so that every word arrives as it was given.
 */
export const toShellLine = (words: readonly string[]): string =>
  words.length === 1 ? words[0]! : words.map(quoteWord).join(" ");
