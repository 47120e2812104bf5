/** The executable, what it unpacked, and whether a shell finds it. */
import { quoteWord } from "../../shell_word.ts";
import { type Finding, none, ok, warning, wrong } from "./check.ts";

export interface Found {
  /** Undefined where its launcher did not say. */
  readonly program: string | undefined;
  /** Those that a shell finds as `openbox`, the first of them first, each with where it leads. */
  readonly onPath: readonly { readonly path: string; readonly real: string }[];
  readonly real: string | undefined;
}

export function checkPath({ program, onPath, real }: Found): Finding {
  if (program === undefined) return none("started without its launcher");
  const [first] = onPath;
  if (!first) {
    const folder = program.slice(0, program.lastIndexOf("/"));
    return warning("a shell finds no openbox", `export PATH="$PATH:${folder}"`);
  }
  if (first.real === real) return ok(first.path);
  return warning(
    `a shell finds another openbox than this one: ${first.path} before ${program}`,
    `${first.path} version, and remove the one that is old`,
  );
}

/** Who else could put another one in its place. */
export function checkOwner(
  place: { readonly path: string; readonly uid: number | null; readonly mode: number | null },
  uid: number,
): Finding {
  const { path, uid: owner, mode } = place, quoted = quoteWord(path);
  if (owner !== null && owner !== 0 && owner !== uid) {
    return wrong(`${path} belongs to another user (uid ${owner})`, `chown ${uid} ${quoted}`);
  }
  if (mode !== null && (mode & 0o002) !== 0) {
    return wrong(`everybody may write to ${path}`, `chmod o-w ${quoted}`);
  }
  return ok(path);
}
