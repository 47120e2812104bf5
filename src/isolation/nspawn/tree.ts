/**
 * A directory tree of an operating system, looked at before a container is made of it: whether nobody but
 * root can have made it what it is, and which programs are in it. Links in a tree lead to what is in it.
 */
import { OpenboxError } from "../../errors.ts";

/**
 * Throws `isolation_invalid` with what is wrong. What passes cannot be swapped for something else before
 * it is used, except by root: nobody else may write to a directory on the way.
 */
export async function requireTree(root: string): Promise<void> {
  const refuse: (why: string, hint?: string) => never = (why, hint) => {
    throw new OpenboxError("isolation_invalid", `${root} cannot be used as a tree: ${why}`, {
      hint: hint ?? "a tree is made by root, for example with: debootstrap stable " + root,
    });
  };
  const parts = root.split("/").slice(1);
  if (!root.startsWith("/") || root === "/") refuse("it is the machine's own root");
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    refuse("its path is not plain");
  }
  for (let depth = 0; depth <= parts.length; depth++) {
    const path = "/" + parts.slice(0, depth).join("/");
    const info = await Deno.lstat(path).catch(() => refuse(`${path} is missing`));
    if (info.isSymlink) {
      const real = await Deno.realPath(root).catch(() => undefined);
      refuse(`${path} is a symbolic link`, real && `--nspawn ${real} names it directly`);
    }
    if (!info.isDirectory) refuse(`${path} is not a directory`);
    if (info.uid !== 0) refuse(`${path} does not belong to root`, `chown root ${path}`);
    const mode = info.mode ?? 0, isTree = depth === parts.length;
    const open = mode & GROUP_OR_OTHERS_WRITE;
    // in a directory as /tmp nobody may replace what is another's
    if (open && (isTree || !(mode & STICKY))) {
      refuse(`others than root may write to ${path}`, `chmod go-w ${path}`);
    }
    if (!isTree && depth > 0 && await isDirectory(`${path}/usr`)) {
      refuse(`it lies in another tree, ${path}`); // whose commands could swap it for something else
    }
  }
  if (!await isDirectory(`${root}/usr`)) refuse("no operating system is in it (/usr is missing)");
  if (await findInTree(root, ["/bin/sh"]) === undefined) {
    refuse("no operating system is in it (/bin/sh is missing)");
  }
}

const GROUP_OR_OTHERS_WRITE = 0o022, STICKY = 0o1000;

const isDirectory = (path: string): Promise<boolean> =>
  Deno.lstat(path).then((info) => info.isDirectory, () => false);

/** The first of these absolute paths that is an executable file in the tree. */
export async function findInTree(
  root: string,
  paths: readonly string[],
): Promise<string | undefined> {
  for (const path of paths) {
    const real = await resolveInTree(root, path);
    if (real === undefined) continue;
    const { isFile, mode } = await Deno.lstat(root + real);
    if (isFile && ((mode ?? 0) & 0o111) !== 0) return path;
  }
  return undefined;
}

/** As Linux has it. */
const MOST_LINKS = 40;

/** Where `path` leads for a process whose root is `root`; undefined where it leads nowhere. */
async function resolveInTree(root: string, path: string): Promise<string | undefined> {
  const done: string[] = [], left = path.split("/").reverse();
  for (let links = 0; left.length > 0;) {
    const part = left.pop()!;
    if (part === "" || part === ".") continue;
    if (part === "..") {
      done.pop(); // the root's parent is itself
      continue;
    }
    const at = `/${[...done, part].join("/")}`;
    const info = await Deno.lstat(root + at).catch(() => undefined);
    if (!info) return undefined;
    if (!info.isSymlink) {
      done.push(part);
      continue;
    }
    if (++links > MOST_LINKS) return undefined;
    const target = await Deno.readLink(root + at);
    if (target.startsWith("/")) done.length = 0;
    left.push(...target.split("/").reverse());
  }
  return "/" + done.join("/");
}
