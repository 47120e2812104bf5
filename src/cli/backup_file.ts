/** The file of a backup on this machine: never seen half, and read a line at a time. */
import { OpenboxError } from "../errors.ts";

/**
 * Writes what comes into a new file of mode 0600, whole or not at all. Rejects with `conflict` where
 * something stands.
 */
export async function writeNewFile(
  path: string,
  content: ReadableStream<Uint8Array>,
): Promise<number> {
  const partial = `${path}.partial`;
  let bytes = 0;
  try {
    await refuseExisting(path);
    await Deno.remove(partial).catch(() => {});
    using file = await Deno.open(partial, { write: true, createNew: true, mode: 0o600 });
    for await (const part of content) {
      for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
      bytes += part.length;
    }
    await file.sync();
    // a link fails where something came meanwhile
    await Deno.link(partial, path);
    return bytes;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw exists(path);
    if (error instanceof OpenboxError) throw error;
    throw new OpenboxError("output_failed", `Cannot write ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await Deno.remove(partial).catch(() => {});
  }
}

async function refuseExisting(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  throw exists(path);
}

const exists = (path: string) =>
  new OpenboxError("conflict", `${path} is there already`, { hint: "name a new file" });

/** A row of a backup is some hundred bytes; what is longer is none. */
const MAX_LINE = 1024 * 1024;

/** Without their line breaks. Throws `bad_file` for one that is too long, or no text. */
export async function* readLines(content: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  try {
    for await (const part of content) {
      const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
      rest = lines.pop()!;
      if (rest.length > MAX_LINE) throw new TypeError("a line is too long");
      yield* lines;
    }
    if (rest !== "") yield rest + decoder.decode();
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new OpenboxError("bad_file", `This is no backup: ${cause.message}`, { cause });
  }
}
