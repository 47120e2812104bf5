/** What runs in containers, as the machine sees it. */
import { text } from "../../../src/bytes.ts";

/** Of whatever test: a command is best told by a number of its own. */
export async function processesOf(args: string): Promise<number[]> {
  const { stdout } = await new Deno.Command("/bin/ps", {
    args: ["-ww", "-A", "-o", "pid=,stat=,args="],
  }).output();
  return text(stdout).split("\n").flatMap((line) => {
    const [, pid, stat, rest] = /^\s*(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return rest === args && !stat!.startsWith("Z") ? [Number(pid)] : [];
  });
}
