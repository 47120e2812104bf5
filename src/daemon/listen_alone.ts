/** The socket of the one daemon of a home: whoever holds the lock beside it serves, and nobody else touches it. */
import { OpenboxError } from "../errors.ts";
import { checkSocketDirectory, checkSocketPath } from "../ipc/socket.ts";
import { quoteWord } from "../shell_word.ts";
import { fromDeno, type LocalListener } from "./local_conn.ts";

/** Between the bind and the modes it has another name: nobody finds it while it is open to others. */
const NEW = ".new";

/**
 * Throws `conflict` where another daemon serves already, `bad_setting` where something else is in the way,
 * `untrusted_socket` where the directory is not ours alone. A socket that was left behind is replaced.
 */
export async function listenAlone(path: string): Promise<LocalListener> {
  checkSocketPath(path + NEW);
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")) || "/", { recursive: true, mode: 0o700 });
  checkSocketDirectory(path);
  await using stack = new AsyncDisposableStack();
  const lock = stack.use(await openLock(`${path.replace(/\.sock$/, "")}.lock`));
  if (!await lock.tryLock(true)) {
    throw new OpenboxError("conflict", `Another daemon serves ${path}`, {
      hint: "openbox daemon status; openbox daemon stop",
    });
  }
  await refuseForeign(path);
  await Deno.remove(path + NEW).catch(() => {}); // of one that was killed
  const listener = stack.adopt(
    Deno.listen({ transport: "unix", path: path + NEW }),
    (listener) => close(listener),
  );
  await Deno.chmod(path + NEW, 0o600);
  await Deno.rename(path + NEW, path);
  const bound = await Deno.lstat(path);
  stack.defer(() => removeOwn(path, bound));
  const owned = stack.move();
  return {
    async accept() {
      try {
        return fromDeno(await listener.accept());
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return null;
        }
        throw error;
      }
    },
    close: () => close(listener),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function openLock(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
  } catch (cause) {
    throw new OpenboxError("bad_setting", `Cannot open ${path}: ${(cause as Error).message}`, {
      hint: "OPENBOX_DAEMON_SOCKET names another place for the daemon's socket",
      cause,
    });
  }
}

/** What is no socket was put there by somebody who wants it. */
async function refuseForeign(path: string): Promise<void> {
  let found: Deno.FileInfo;
  try {
    found = await Deno.lstat(path);
  } catch {
    return;
  }
  if (found.isSocket) return;
  throw new OpenboxError("bad_setting", `${path} is there and is no socket`, {
    hint: `mv ${quoteWord(path)} ${quoteWord(`${path}.old`)}, if nobody needs it there`,
  });
}

function close(listener: Deno.Listener): void {
  try {
    listener.close();
  } catch {
    // closed before
  }
}

async function removeOwn(path: string, { dev, ino }: Deno.FileInfo): Promise<void> {
  try {
    const now = await Deno.lstat(path);
    if (now.dev === dev && now.ino === ino) await Deno.remove(path);
  } catch {
    // somebody removed it before
  }
}
