/** Whether a path is on a file system that other machines share: locks and modes hold less there. */
import { statfs } from "node:fs/promises";

/** Their magic numbers on Linux (statfs(2)); elsewhere the numbers mean something else. */
const NAMES: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB",
  0x5346414f: "AFS",
  0x01021997: "9P",
};

/** Its name; undefined where it is none that is known, or where nobody can tell. */
export async function networkFileSystem(
  path: string,
  typeOf: (path: string) => Promise<number> = async (path) => Number((await statfs(path)).type),
): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  try {
    return NAMES[await typeOf(path) >>> 0];
  } catch {
    return undefined;
  }
}
