/** Files that a flag or a variable names, wherever they lie: certificates, tokens. */
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";

/** What they hold is small, and a wrong path must not fill the memory. */
const MAX_BYTES = 1024 * 1024;

/** `what` it should be, such as `the token`, for the error. Throws `bad_file`. */
export async function readTextFile(path: string, what: string): Promise<string> {
  try {
    using file = await Deno.open(path);
    return await readText((buffer) => file.read(buffer), what);
  } catch (error) {
    if (error instanceof OpenboxError) throw error;
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : `${error}`;
    throw new OpenboxError("bad_file", `Cannot read ${what} in ${path}: ${reason}`);
  }
}

/** All of standard input, for a secret that is piped in. */
export const readStdinText = ({ stdin }: Pick<Host, "stdin">, what: string): Promise<string> =>
  readText((buffer) => stdin.read(buffer), what);

async function readText(
  read: (buffer: Uint8Array) => Promise<number | null>,
  what: string,
): Promise<string> {
  const buffer = new Uint8Array(MAX_BYTES + 1);
  for (let length = 0; length < buffer.length;) {
    const count = await read(buffer.subarray(length));
    if (count === null) return new TextDecoder().decode(buffer.subarray(0, length));
    length += count;
  }
  throw new OpenboxError("bad_file", `Cannot read ${what}: it is longer than ${MAX_BYTES} bytes`);
}
