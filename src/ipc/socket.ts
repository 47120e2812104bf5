/** Whose the local socket is: both ends look, so that neither speaks to somebody else's program. */
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";

/** `sun_path` of unix(7) less its NUL; macOS has the shorter one. */
const MAX_PATH = Deno.build.os === "darwin" ? 103 : 107;

/** Throws `bad_setting` where the system could not bind it. */
export function checkSocketPath(path: string): void {
  const { length } = new TextEncoder().encode(path);
  if (length <= MAX_PATH) return;
  throw new OpenboxError(
    "bad_setting",
    `The path of the daemon's socket is ${length} bytes long, the system takes ${MAX_PATH}: ${path}`,
    { hint: "export OPENBOX_DAEMON_SOCKET=/run/user/$(id -u)/openboxd.sock" },
  );
}

/**
 * Whether there is a socket of ours to connect to; false where there is none. Throws `untrusted_socket`
 * where it, or its directory, is somebody else's or open to others: who answers there is not known.
 */
export function isOurSocket(path: string): boolean {
  const found = look(path);
  if (!found) return false;
  refuseOthers(path, found);
  if (!found.isSocket) return false;
  checkSocketDirectory(path);
  return true;
}

/** Throws `untrusted_socket` where others could put something into the directory of the socket. */
export function checkSocketDirectory(path: string): void {
  const directory = path.slice(0, Math.max(1, path.lastIndexOf("/")));
  refuseOthers(directory, Deno.statSync(directory));
}

function look(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function refuseOthers(path: string, { uid, mode }: Deno.FileInfo): void {
  const refuse = (why: string, hint: string) =>
    new OpenboxError("untrusted_socket", `${path} ${why}: what answers there may not be ours`, {
      hint,
    });
  if (uid !== null && uid !== Deno.uid()) {
    throw refuse(
      `belongs to another user (uid ${uid})`,
      "OPENBOX_NO_DAEMON=1 goes without a daemon; OPENBOX_DAEMON_SOCKET names another place",
    );
  }
  if (mode !== null && (mode & 0o077) !== 0 && (mode & 0o170000) !== 0o120000) {
    throw refuse("is open to other users", `chmod go-rwx ${quoteWord(path)}`);
  }
}
