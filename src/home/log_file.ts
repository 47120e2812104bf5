/** A log in the home, of a process that has no terminal and no service manager to write to. */
import type { Output } from "../host.ts";

/** Then it begins anew; the one before is kept beside it. */
const MAX_BYTES = 1024 * 1024;

/** Appends to the file (0600), as a process would write to its stderr. Dispose it to close the file. */
export async function openLogFile(path: string): Promise<Output & Disposable> {
  const size = await Deno.stat(path).then((info) => info.size, () => 0);
  if (size > MAX_BYTES) await Deno.rename(path, `${path}.1`);
  const file = await Deno.open(path, { create: true, append: true, mode: 0o600 });
  return {
    isTerminal: () => false,
    size: () => undefined,
    async write(bytes) {
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    },
    [Symbol.dispose]: () => file.close(),
  };
}

/** The end of the file, in whole lines; undefined where there is none. */
export async function readTextTail(
  path: string,
  maxBytes = 64 * 1024,
): Promise<string | undefined> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  using _ = file;
  const { size } = await file.stat();
  await file.seek(Math.max(0, size - maxBytes), Deno.SeekMode.Start);
  const buffer = new Uint8Array(maxBytes);
  let length = 0;
  for (let count; (count = await file.read(buffer.subarray(length)));) length += count;
  const text = new TextDecoder().decode(buffer.subarray(0, length));
  return size > maxBytes ? text.slice(text.indexOf("\n") + 1) : text;
}
