/** A tar archive (ustar) of files, always the same bytes for the same files. */

export interface TarFile {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Permission bits. */
  readonly mode: number;
}

const BLOCK = 512;
/** 2000-01-01: some programs warn of a time near zero. */
const MODIFIED_AT = 946_684_800;

export function tar(files: readonly TarFile[]): Uint8Array<ArrayBuffer> {
  const room = files.reduce((sum, { bytes }) => sum + BLOCK + padded(bytes.length), 2 * BLOCK);
  const archive = new Uint8Array(room);
  let at = 0;
  for (const file of files) {
    archive.set(header(file), at);
    archive.set(file.bytes, at + BLOCK);
    at += BLOCK + padded(file.bytes.length);
  }
  return archive;
}

const padded = (length: number): number => Math.ceil(length / BLOCK) * BLOCK;

function header({ name, bytes, mode }: TarFile): Uint8Array {
  if (!/^[\w.-]{1,99}$/.test(name)) throw new Error(`no name for a tar archive: ${name}`);
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string) => block.set(new TextEncoder().encode(text), at);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  put(0, name);
  put(100, octal(mode, 7));
  put(108, octal(0, 7)); // user and group: whoever unpacks it
  put(116, octal(0, 7));
  put(124, octal(bytes.length, 11));
  put(136, octal(MODIFIED_AT, 11));
  put(148, " ".repeat(8)); // the checksum counts itself as blanks
  put(156, "0");
  put(257, "ustar\0" + "00");
  put(148, `${octal(block.reduce((sum, byte) => sum + byte), 6)}\0 `);
  return block;
}
