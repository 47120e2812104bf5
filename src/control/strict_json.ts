/**
 * JSON from outside, without what two readers could read differently: a key given twice, `__proto__`,
 * half a surrogate pair, and nesting that no request of ours has.
 */
import { OpenboxError } from "../errors.ts";

const MAX_DEPTH = 16;

/** Throws `bad_request`. */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string, value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refuse("it is not UTF-8");
  }
  try {
    value = JSON.parse(text); // V8 keeps its own stack here: depth costs nothing
  } catch {
    throw refuse("it is not JSON");
  }
  checkTokens(text);
  return value;
}

/** A string with its escapes, or what gives structure. In valid JSON every quote opens or closes one. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{}:]/g;

/** `text` is valid JSON. */
function checkTokens(text: string): void {
  /** The keys so far of each object that is open; a list has none, since no colon stands in it. */
  const open: Set<string>[] = [];
  let last = "";
  for (const [token] of text.matchAll(TOKEN)) {
    switch (token) {
      case "{":
      case "[":
        if (open.push(new Set()) > MAX_DEPTH) {
          throw refuse(`it is nested more than ${MAX_DEPTH} deep`);
        }
        break;
      case "}":
      case "]":
        open.pop();
        break;
      case ":":
        addKey(open.at(-1)!, last);
        break;
      default:
        last = JSON.parse(token);
        if (!last.isWellFormed()) throw refuse("it holds half a surrogate pair");
    }
  }
}

function addKey(keys: Set<string>, key: string): void {
  if (key === "__proto__") throw refuse("no key may be __proto__");
  if (keys.has(key)) throw refuse(`the key ${JSON.stringify(key.slice(0, 64))} stands twice`);
  keys.add(key);
}

const refuse = (why: string) => new OpenboxError("bad_request", `The body cannot be read: ${why}`);
