/** The tree of a process where there is no cgroup to ask: by ps(1), which Linux and macOS read alike. */
import { text } from "../bytes.ts";

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** In ticks since the machine was started. */
  readonly startedAt: number;
}

/** Of Linux; undefined where it is gone. */
export function readProcess(pid: number): ProcessEntry | undefined {
  try {
    const stat = text(Deno.readFileSync(`/proc/${pid}/stat`));
    // its name, in parentheses, may hold anything
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      pid,
      parent: Number(fields[1]),
      group: Number(fields[2]),
      startedAt: Number(fields[19]),
    };
  } catch {
    return undefined;
  }
}

/** What descends from `root`, and what is in its group. A process that was disowned and left the group is not found. */
export async function listDescendants(root: number): Promise<number[]> {
  const { stdout } = await new Deno.Command("/bin/ps", {
    args: ["-A", "-o", "pid=,ppid=,pgid="],
    stdin: "null",
    stderr: "null",
  }).output();
  const children = new Map<number, number[]>();
  const found = new Set<number>();
  for (const line of text(stdout).split("\n")) {
    const [pid, parent, group] = line.trim().split(/\s+/).map(Number);
    if (!pid || parent === undefined) continue;
    const siblings = children.get(parent);
    if (siblings) siblings.push(pid);
    else children.set(parent, [pid]);
    if (group === root) found.add(pid);
  }
  found.add(root);
  // a set hands out what is added while it is walked
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child);
  found.delete(root);
  return [...found];
}
