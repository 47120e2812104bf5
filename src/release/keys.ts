/**
 * Whose signature makes a release: the public halves of the release keys, as release_keys.txt lists them.
 * install.sh has the same list, and reads it in the same way.
 */
import { parseAuthorizedLine, type PublicKey } from "../ssh/key.ts";
import { MalformedError } from "../ssh/wire.ts";

export interface ReleaseKey {
  readonly key: PublicKey;
  /** The last day of its life in UTC, as `2031-12-31`. */
  readonly until: string;
}

const LINE = /^(\d{4}-\d\d-\d\d) (\S.*)$/;

/** Throws MalformedError for a line that is neither a comment nor a key with its day. */
export function parseReleaseKeys(text: string): ReleaseKey[] {
  return keyLines(text).map((line) => {
    const [, until, key] = LINE.exec(line) ?? [];
    if (!until || !key || !isDay(until)) {
      throw new MalformedError(`no day and key: ${line.slice(0, 40)}`);
    }
    return { until, key: parseAuthorizedLine(key) };
  });
}

/** The lines that are keys, without comments. */
export const keyLines = (text: string): string[] =>
  text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));

export const isAlive = ({ until }: ReleaseKey, now: number): boolean => toDay(now) <= until;

export const toDay = (at: number): string => new Date(at).toISOString().slice(0, 10);

const isDay = (text: string): boolean => {
  const at = Date.parse(text);
  return !Number.isNaN(at) && toDay(at) === text;
};
