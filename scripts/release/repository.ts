import { isRepository } from "../../src/release/source.ts";

/** OWNER/NAME of the git remote `origin`, where that is GitHub. */
export async function findRepository(root: string): Promise<string | undefined> {
  const { success, stdout } = await new Deno.Command("git", {
    args: ["-C", root, "remote", "get-url", "origin"],
    stderr: "null",
  }).output().catch(() => ({ success: false, stdout: new Uint8Array() }));
  return success ? repositoryOf(new TextDecoder().decode(stdout).trim()) : undefined;
}

/** Of an address as git takes it. */
export function repositoryOf(remote: string): string | undefined {
  const [, path] =
    /^(?:https:\/\/|ssh:\/\/git@|git@)github\.com[/:]([^/]+\/.+?)(?:\.git)?\/?$/.exec(remote) ?? [];
  return path !== undefined && isRepository(path) ? path : undefined;
}
