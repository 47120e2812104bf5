/** Files of a release over HTTP, no longer than they may be, in no more time than they may take. */
import { type AbortOptions, abortReason, deadline } from "../abort.ts";
import { concat } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";

export interface DownloadOptions extends AbortOptions {
  readonly maxBytes: number;
  /** For all of it. */
  readonly deadlineMs: number;
}

/** Throws `not_found` where the file is not there, `unavailable` for whatever else keeps it from coming. */
export async function download(url: string, options: DownloadOptions): Promise<Uint8Array> {
  const { maxBytes, deadlineMs } = options;
  using limit = deadline(
    deadlineMs,
    () => unavailable(url, `it took longer than ${deadlineMs / 1000} s`),
    options,
  );
  try {
    const response = await fetch(url, { signal: limit.signal });
    if (response.ok) return await readLimited(url, response, maxBytes);
    await response.body?.cancel();
    if (response.status === 404) {
      throw new OpenboxError("not_found", `Cannot download ${url}: there is no such file`, {
        hint: "OPENBOX_REPO and OPENBOX_BASE_URL say where releases are looked for",
      });
    }
    throw unavailable(url, `the answer is ${response.status}`);
  } catch (error) {
    if (limit.signal.aborted) throw abortReason(limit.signal);
    if (error instanceof OpenboxError) throw error;
    throw unavailable(url, (error as Error).message, error);
  }
}

async function readLimited(
  url: string,
  { body }: Response,
  maxBytes: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  // leaving the loop cancels what is left
  for await (const part of body ?? []) {
    length += part.length;
    if (length > maxBytes) throw unavailable(url, `it is longer than ${maxBytes} bytes`);
    parts.push(part);
  }
  return concat(parts);
}

const unavailable = (url: string, why: string, cause?: unknown) =>
  new OpenboxError("unavailable", `Cannot download ${url}: ${why}`, { cause });
