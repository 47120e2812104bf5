/** Characters that no shell we know takes for anything but themselves (docs/protocol.md › Words). */
const SAFE = /^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+:,./=-]*$/;

/** `word` as a POSIX shell reads it back: bare where that is safe, else in single quotes. */
export const quoteWord = (word: string): string =>
  SAFE.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
