/** The executable out of a release's tarball: one file, called `openbox`. Anything else in it is refused. */
import { concat, text } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";

const BLOCK = 512;
const NAME = "openbox";
/** The largest that a release may hold: what is signed could still be a mistake. */
const MAX_BYTES = 1024 * 1024 * 1024;
/** tar fills its last record up with zeros. */
const MAX_END = 64 * 1024;

/** The bytes of the executable as they are unpacked. Throws `bad_file` for another tarball, also at its end. */
export async function* unpackExecutable(
  tarball: Uint8Array<ArrayBuffer>,
): AsyncGenerator<Uint8Array> {
  const unpacked = new Blob([tarball]).stream().pipeThrough(new DecompressionStream("gzip"));
  const blocks = new Blocks(unpacked.getReader());
  try {
    const size = readHeader(await blocks.take(BLOCK));
    for (let left = size; left > 0;) {
      const part = await blocks.some(left);
      left -= part.length;
      yield part;
    }
    const end = await blocks.take((BLOCK - size % BLOCK) % BLOCK + BLOCK);
    const more = await blocks.rest(MAX_END);
    // to its end, where gzip has its own checksum
    if (end.some((byte) => byte !== 0) || !more || more.some((byte) => byte !== 0)) {
      throw refused("there is more in it");
    }
  } catch (error) {
    if (error instanceof OpenboxError) throw error;
    throw refused((error as Error).message, error);
  } finally {
    await blocks.cancel();
  }
}

/** How long the file is (POSIX ustar; of the fields those that say what is written, and how it is checked). */
function readHeader(header: Uint8Array): number {
  const field = (at: number, length: number) =>
    text(header.subarray(at, at + length)).split("\0")[0]!;
  const octal = (at: number, length: number) => {
    const digits = field(at, length).trim();
    return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
  };
  const sum = header.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  if (octal(148, 8) !== sum) throw refused("its first header is broken");
  const kind = field(156, 1);
  if (field(0, 100) !== NAME || field(345, 155) !== "" || (kind !== "0" && kind !== "")) {
    throw refused(`it does not begin with the file ${NAME}`);
  }
  const size = octal(124, 12);
  if (!(size > 0 && size <= MAX_BYTES)) throw refused("the file in it has no size that fits");
  return size;
}

/** A stream, so many bytes at a time. */
class Blocks {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#reader = reader;
  }
  /** From 1 to `most`. */
  async some(most: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#reader.read();
      if (done) throw refused("it ends too early");
      this.#rest = value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }
  async take(length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const part = await this.some(length - at);
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
  /** Undefined where there is more than `most`. */
  async rest(most: number): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = [this.#rest];
    for (let length = this.#rest.length; length <= most;) {
      const { done, value } = await this.#reader.read();
      if (done) return concat(parts);
      parts.push(value);
      length += value.length;
    }
    return undefined;
  }
  /** Whatever state it is in. */
  cancel(): Promise<void> {
    return this.#reader.cancel().catch(() => {});
  }
}

const refused = (why: string, cause?: unknown) =>
  new OpenboxError("bad_file", `Cannot unpack the release: ${why}`, { cause });
