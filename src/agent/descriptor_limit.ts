import { text } from "../bytes.ts";

/** How many files and sockets this process may have open; Infinity where there is no limit that is known. */
export async function descriptorLimit(): Promise<number> {
  const limits = await Deno.readTextFile("/proc/self/limits").catch(() => undefined);
  const limit = limits === undefined
    ? await askShell() // macOS
    : /^Max open files +(\S+)/m.exec(limits)?.[1] ?? "";
  return /^\d+$/.test(limit) ? Number(limit) : Infinity;
}

/** A child has the limits of its parent. */
async function askShell(): Promise<string> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", "ulimit -n"],
    stdin: "null",
    stderr: "null",
  }).output();
  return text(stdout).trim();
}
