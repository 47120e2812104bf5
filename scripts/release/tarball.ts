/** The tarball of a release: one executable called `openbox`, and the same bytes for the same executable. */
import { gzipSync } from "node:zlib";
import { tar } from "../tar.ts";

export function packExecutable(executable: Uint8Array): Uint8Array<ArrayBuffer> {
  const packed = gzipSync(tar([{ name: "openbox", bytes: executable, mode: 0o755 }]), { level: 9 });
  packed[9] = 255; // the system that packed it: unknown
  return new Uint8Array(packed);
}
