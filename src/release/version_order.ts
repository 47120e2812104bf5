/** Which of two versions is the later one: semantic versions (semver.org), without build metadata. */

const VERSION =
  /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$/;
const MAX_LENGTH = 64;

export const isVersion = (text: string): boolean => text.length <= MAX_LENGTH && VERSION.test(text);

/** Below 0 where `a` comes before `b`, 0 where they are the same. Both must be versions. */
export function compareVersions(a: string, b: string): number {
  const left = parse(a), right = parse(b);
  for (let i = 0; i < 3; i++) {
    if (left.core[i] !== right.core[i]) return left.core[i]! - right.core[i]!;
  }
  return comparePre(left.pre, right.pre);
}

function parse(text: string): { core: readonly number[]; pre: readonly string[] } {
  const match = isVersion(text) && VERSION.exec(text);
  if (!match) throw new TypeError(`${text} is no version`);
  return { core: match.slice(1, 4).map(Number), pre: match[4]?.split(".") ?? [] };
}

/** What stands behind the numbers: without it is later than with it, numbers come before words. */
function comparePre(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return b.length - a.length;
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const left = a[i], right = b[i];
    if (left === undefined) return -1;
    if (right === undefined) return 1;
    if (left === right) continue;
    const numbers = [left, right].map((word) => /^\d+$/.test(word));
    if (numbers[0] && numbers[1]) return Number(left) - Number(right);
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return 0;
}
