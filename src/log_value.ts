/**
 * What of a value the log may show, as plain data: secrets masked by their type wherever they are held,
 * bytes never (they may be a key), errors with their causes, and nothing too long, too deep or in a circle.
 */
const MAX_DEPTH = 6, MAX_ENTRIES = 100, MAX_TEXT = 4096;

export type LogValue = string | number | boolean | null | LogValue[] | { [key: string]: LogValue };

/** Never throws. */
export function toLogValue(value: unknown, depth = 0): LogValue {
  switch (typeof value) {
    case "string":
      return shown(value);
    case "number":
    case "boolean":
      return Number.isFinite(value) || typeof value === "boolean" ? value : String(value);
    case "object":
      break;
    default: // bigint, undefined, symbol, function
      return typeof value === "function" ? "[function]" : String(value);
  }
  if (value === null) return null;
  if (depth > MAX_DEPTH) return "[…]";
  try {
    return ofObject(value, depth + 1);
  } catch {
    return "[unreadable]";
  }
}

function ofObject(value: object, depth: number): LogValue {
  if (value instanceof Error) return shown(errorText(value));
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return `[${value.byteLength} bytes]`;
  }
  // a Secret says what it may look like, a Date too
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return toLogValue(value.toJSON(), depth);
  }
  if (value instanceof Map) return ofEntries([...value], depth);
  if (value instanceof Set || Array.isArray(value)) {
    return [...value].slice(0, MAX_ENTRIES).map((one) => toLogValue(one, depth));
  }
  return ofEntries(Object.entries(value), depth);
}

const ofEntries = (entries: [unknown, unknown][], depth: number): LogValue =>
  Object.fromEntries(
    entries.slice(0, MAX_ENTRIES).map(([key, one]) => [
      String(toLogValue(key, depth)),
      toLogValue(one, depth),
    ]),
  );

/** What went wrong, and what that came from. */
function errorText(error: Error): string {
  const texts: string[] = [];
  let at: unknown = error;
  while (at instanceof Error && texts.length < MAX_DEPTH) {
    // a cause is often what the error around it says already
    if (!texts.some((text) => text.includes((at as Error).message))) texts.push(at.message);
    at = at.cause;
  }
  return texts.join(": ");
}

/** Tokens are told by their form as well: a text from outside may hold one where none should be. */
const TOKEN = /\b(obx|obn|enroll)_[A-Za-z0-9]{16,}(?:\.[\w-]+)?/g;

export const maskTokens = (text: string): string => text.replace(TOKEN, "$1_[secret]");

function shown(text: string): string {
  const masked = maskTokens(text);
  return masked.length > MAX_TEXT ? `${masked.slice(0, MAX_TEXT)}…` : masked;
}
