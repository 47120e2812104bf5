import { OpenboxError } from "../errors.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const FORM = /^(?:\d+(?:\.\d+)?(?:ms|[smhd]))+$/;
const PARTS = /(\d+(?:\.\d+)?)(ms|[smhd])/g;
/** What a timer can hold; beyond it one fires at once. */
const MAX_MS = 2 ** 31 - 1;

/**
 * `90s`, `1h30m`, `1.5h`, `500ms`, `2d`; a plain number is seconds, as timeout(1) has it. At least one
 * millisecond, and below `maxMs`. `flag` names it in the error.
 */
export function parseDuration(text: string, flag: string, maxMs: number = MAX_MS): number {
  const refuse = (why: string): never => {
    throw new OpenboxError("usage", `${flag} ${JSON.stringify(text)}: ${why}`, {
      hint: "a duration such as 90s, 1h30m or 500ms; a plain number is seconds",
    });
  };
  const full = /^\d+(?:\.\d+)?$/.test(text) ? `${text}s` : text;
  if (!FORM.test(full)) return refuse("not a duration");
  const ms = Math.round(
    [...full.matchAll(PARTS)].reduce((sum, [, n, unit]) => sum + Number(n) * UNIT_MS[unit!]!, 0),
  );
  if (ms < 1) return refuse("it must be longer than nothing");
  if (ms > maxMs) return refuse(`it must be shorter than ${Math.floor(maxMs / 86_400_000)} days`);
  return ms;
}

/** The shortest of our forms: `15m`, `1h30m`, `45s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms / 1000);
  let out = "";
  for (const [unit, seconds] of [["d", 86_400], ["h", 3600], ["m", 60], ["s", 1]] as const) {
    const count = Math.floor(rest / seconds);
    if (count > 0) out += `${count}${unit}`;
    rest -= count * seconds;
  }
  return out || "0s";
}
