/** The file system as the policy looks at it. */
import type { FoundPath, PathLookup } from "./policy.ts";

export interface PathLookupDeps {
  readonly ownLogin: string;
  /** The login's home: some engines put their socket there. */
  readonly home: string;
  /** The agent's own files. */
  readonly agentDir: string;
}

/** Below the home, and elsewhere: whoever can talk to an engine is root on the machine. */
const HOME_SOCKETS = [
  ".docker/run/docker.sock",
  ".docker/desktop/docker.sock",
  ".colima/default/docker.sock",
  ".orbstack/run/docker.sock",
];
const SOCKETS = [
  "/var/run/docker.sock",
  "/run/docker.sock",
  "/run/containerd/containerd.sock",
  "/run/podman/podman.sock",
];

export function openPathLookup({ ownLogin, home, agentDir }: PathLookupDeps): PathLookup {
  return {
    ownLogin,
    isRoot: Deno.uid() === 0,
    kept: [agentDir, ...SOCKETS, ...HOME_SOCKETS.map((path) => `${home}/${path}`)],
    find,
  };
}

async function find(path: string): Promise<FoundPath | undefined> {
  try {
    const real = await Deno.realPath(path);
    const { isFile, isDirectory } = await Deno.lstat(real);
    return { path: real, kind: isDirectory ? "directory" : isFile ? "file" : "other" };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}
