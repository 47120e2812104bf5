/** The directory in which openbox keeps its files. */
import { quoteWord } from "../../shell_word.ts";
import { type Finding, none, ok, warning, wrong } from "./check.ts";

/** What is asked of the system about a directory. */
export interface Directory {
  readonly path: string;
  /** Undefined where there is nothing of this name. */
  readonly info: Pick<Deno.FileInfo, "isDirectory" | "uid" | "mode"> | undefined;
  readonly isWritable: boolean;
  /** The name of a file system that other machines share. */
  readonly network: string | undefined;
}

export function checkHome({ path, info, isWritable, network }: Directory, uid: number): Finding[] {
  if (!info) {
    return isWritable
      ? [none(`${path} will be made with the first login`)]
      : [wrong(`${path} cannot be made`, "export OPENBOX_HOME=/path/to/a/directory/of/yours")];
  }
  const quoted = quoteWord(path);
  if (!info.isDirectory) return [wrong(`${path} is no directory`, `mv ${quoted} ${quoted}.old`)];
  const found: Finding[] = [];
  if (info.uid !== null && info.uid !== uid) {
    found.push(
      wrong(`${path} belongs to another user (uid ${info.uid})`, `chown ${uid} ${quoted}`),
    );
  } else if (!isWritable) {
    found.push(
      wrong(`${path} cannot be written to`, "export OPENBOX_HOME=/path/to/a/directory/of/yours"),
    );
  }
  if (info.mode !== null && (info.mode & 0o077) !== 0) {
    found.push(wrong(`${path} is open to other users`, `chmod 700 ${quoted}`));
  }
  if (network !== undefined) {
    found.push(
      warning(
        `${path} is on ${network}, which other machines share: a control plane or an agent needs one of this machine alone`,
        "export OPENBOX_HOME=/a/directory/on/a/local/disk, for those two at least",
      ),
    );
  }
  return found.length > 0 ? found : [ok(path)];
}
