/** The tarball of a release: one executable called `openbox`, and the same bytes for the same executable. */
import { gzipSync } from "node:zlib";
import { concat, utf8 } from "../../src/bytes.ts";

const BLOCK = 512;
/** 2000-01-01: some programs warn of a time near zero. */
const MODIFIED_AT = 946_684_800;

export function packExecutable(
  executable: Uint8Array,
  { name = "openbox" }: { readonly name?: string } = {},
): Uint8Array<ArrayBuffer> {
  const padding = new Uint8Array((BLOCK - executable.length % BLOCK) % BLOCK);
  const end = new Uint8Array(2 * BLOCK);
  const tar = concat([header(name, executable.length), executable, padding, end]);
  const packed = new Uint8Array(gzipSync(tar, { level: 9 }));
  packed[9] = 255; // the system that packed it: unknown
  return packed;
}

/** POSIX ustar. */
function header(name: string, size: number): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string) => block.set(utf8(text), at);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0") + "\0";
  put(0, name);
  put(100, octal(0o755, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(size, 11));
  put(136, octal(MODIFIED_AT, 11));
  put(148, " ".repeat(8));
  put(156, "0");
  put(257, "ustar\x0000");
  put(265, "root");
  put(297, "root");
  put(148, octal(block.reduce((sum, byte) => sum + byte, 0), 6) + " ");
  return block;
}
