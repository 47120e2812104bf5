/**
 * Files that hold keys and tokens, or rules. They are read only while nobody else can get at them, and a
 * save leaves the old text or the new one, whatever ends the process in between.
 */
import { utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";

/**
 * The text of the file, undefined where it is absent. `unsafe_file` when the file or its directory is
 * open to others or belongs to somebody else; `bad_file` when it is longer than `maxBytes`, no UTF-8,
 * or cannot be read.
 */
export async function readPrivateFile(
  path: string,
  { maxBytes }: { maxBytes: number },
): Promise<string | undefined> {
  return await readFile(path, maxBytes, PRIVATE);
}

/**
 * The text of a file that a person writes and that decides what is allowed: as `readPrivateFile`, but
 * others may read it, and root's is taken too.
 */
export async function readTrustedFile(
  path: string,
  { maxBytes }: { maxBytes: number },
): Promise<string | undefined> {
  return await readFile(path, maxBytes, TRUSTED);
}

/** Who may get at a file and its directory. */
interface Safety {
  /** Bits of the mode that nobody may have. */
  readonly refused: number;
  readonly rootMayOwn: boolean;
  readonly remedy: { readonly file: string; readonly directory: string };
  /** What others could do. */
  readonly open: string;
}
const PRIVATE: Safety = {
  refused: 0o077,
  rootMayOwn: false,
  remedy: { file: "600", directory: "700" },
  open: "open to other users",
};
const TRUSTED: Safety = {
  refused: 0o022,
  rootMayOwn: true,
  remedy: { file: "go-w", directory: "go-w" },
  open: "writable by other users",
};

async function readFile(
  path: string,
  maxBytes: number,
  safety: Safety,
): Promise<string | undefined> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw unreadable(path, error);
  }
  using _ = file;
  // the open file is looked at, not the path, so that nobody can swap it between the look and the read
  const info = await file.stat();
  if (!info.isFile) throw unreadable(path, new Error("it is not a file"));
  refuseForeign(path, info, safety, "file");
  await checkDirectory(dirname(path), safety);
  const bytes = await readAll(file, maxBytes);
  if (!bytes) {
    throw new OpenboxError("bad_file", `Cannot use ${path}: it is longer than ${maxBytes} bytes`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new OpenboxError("bad_file", `Cannot use ${path}: it is not text`, { cause });
  }
}

/** Replaces the file, durably: a temporary file beside it, synced, renamed. Makes its directory (0700). */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  await withTemporary(path, text, (temporary) => Deno.rename(temporary, path));
}

/** Makes the file, durably, unless there is one: false then, and the one that is there is untouched. */
export async function createPrivateFile(path: string, text: string): Promise<boolean> {
  let created = true;
  await withTemporary(path, text, async (temporary) => {
    try {
      // a link fails where something stands, and unlike O_EXCL it never shows half a file
      await Deno.link(temporary, path);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      created = false;
    }
  });
  return created;
}

async function withTemporary(
  path: string,
  text: string,
  place: (temporary: string) => Promise<void>,
): Promise<void> {
  const directory = dirname(path);
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
    await checkDirectory(directory, PRIVATE);
    await writeSynced(temporary, utf8(text));
    await place(temporary);
    using opened = await Deno.open(directory);
    await opened.sync();
  } catch (error) {
    if (error instanceof OpenboxError) throw error;
    throw new OpenboxError("bad_file", `Cannot write ${path}: ${reason(error)}`, {
      hint: "OPENBOX_HOME names another directory",
      cause: error,
    });
  } finally {
    await Deno.remove(temporary).catch(() => {}); // gone already after a rename
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}

/** Undefined when there is more than `maxBytes`. */
async function readAll(file: Deno.FsFile, maxBytes: number): Promise<Uint8Array | undefined> {
  const buffer = new Uint8Array(maxBytes + 1);
  let length = 0;
  while (length < buffer.length) {
    const read = await file.read(buffer.subarray(length));
    if (read === null) return buffer.subarray(0, length);
    length += read;
  }
  return undefined;
}

async function checkDirectory(path: string, safety: Safety): Promise<void> {
  refuseForeign(path, await Deno.stat(path), safety, "directory");
}

function refuseForeign(
  path: string,
  info: Deno.FileInfo,
  { refused, rootMayOwn, remedy, open }: Safety,
  kind: "file" | "directory",
): void {
  const uid = Deno.uid();
  if (info.uid !== null && info.uid !== uid && !(rootMayOwn && info.uid === 0)) {
    throw new OpenboxError("unsafe_file", `${path} belongs to another user (uid ${info.uid})`, {
      hint: `chown ${uid} ${quoteWord(path)}`,
    });
  }
  if (info.mode !== null && (info.mode & refused) !== 0) {
    throw new OpenboxError("unsafe_file", `${path} is ${open}`, {
      hint: `chmod ${remedy[kind]} ${quoteWord(path)}`,
    });
  }
}

const unreadable = (path: string, cause: unknown) =>
  new OpenboxError("bad_file", `Cannot read ${path}: ${reason(cause)}`, { cause });

/** What the system said, without Deno's repetition of the call (`No such file or directory (os error 2): open '…'`). */
const reason = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/ \(os error \d+\).*$/s, "");

const dirname = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf("/")));
