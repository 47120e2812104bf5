/** Reads a request's body: 64 KiB at most unless said, counted as it arrives, whatever its headers promise. */
import type { IncomingMessage } from "node:http";
import { concat } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { parseStrictJson } from "./strict_json.ts";

export const MAX_BODY = 64 * 1024;

/** The JSON object in it, `{}` where it is empty. Throws `body_too_large` or `bad_request`. */
export async function readJsonBody(
  incoming: IncomingMessage,
  maxBytes = MAX_BODY,
): Promise<object> {
  const encoding = incoming.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new OpenboxError("bad_request", "The body is compressed, which is not taken");
  }
  if (Number(incoming.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const bytes = await readAll(incoming, maxBytes);
  const value = bytes.length === 0 ? {} : parseStrictJson(bytes);
  // valibot would take a list for an object without entries
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new OpenboxError("bad_request", "The body must be a JSON object");
}

function readAll(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let length = 0;
    const settle = (outcome: () => void) => {
      incoming.off("data", onData).off("end", onEnd).off("close", onClose).off("error", onClose);
      outcome();
    };
    const onData = (part: Uint8Array) => {
      length += part.length;
      if (length <= maxBytes) return void parts.push(part);
      incoming.pause();
      settle(() => reject(tooLarge(maxBytes)));
    };
    const onEnd = () => settle(() => resolve(concat(parts)));
    const onClose = () =>
      settle(() => reject(new OpenboxError("bad_request", "The request ended before its body")));
    incoming.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose);
  });
}

const tooLarge = (maxBytes: number) =>
  new OpenboxError("body_too_large", `The body is longer than ${maxBytes} bytes`);
