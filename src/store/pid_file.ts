/**
 * Which process has a database, for the one that is refused. The file is locked as long as that process
 * lives, so that a number which a killed one left behind misleads nobody.
 */

/** Undefined where the file cannot be made: nothing depends on it. Disposing it removes it. */
export async function holdPidFile(path: string): Promise<Disposable | undefined> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
  } catch {
    return undefined;
  }
  try {
    if (await file.tryLock(true)) {
      await file.truncate();
      await file.write(new TextEncoder().encode(`${Deno.pid}\n`));
      return removing(path, file);
    }
  } catch {
    // a full disk, or a file system without locks
  }
  file.close();
}

const removing = (path: string, file: Deno.FsFile): Disposable => ({
  [Symbol.dispose]() {
    try {
      Deno.removeSync(path);
    } catch {
      // somebody tidied up
    }
    file.close();
  },
});

/** Of the process that holds the file now. */
export async function readPidFile(path: string): Promise<number | undefined> {
  try {
    using file = await Deno.open(path);
    if (await file.tryLock(false)) return undefined;
    const buffer = new Uint8Array(16);
    const text = new TextDecoder().decode(buffer.subarray(0, await file.read(buffer) ?? 0));
    return /^[1-9]\d*\n$/.test(text) ? Number(text) : undefined;
  } catch {
    return undefined;
  }
}
