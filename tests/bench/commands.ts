/** What one command costs: a whole process from start to exit, and its parts. */
import { connectAgent, connectSshd, exec } from "./clients.ts";
import type { Bench } from "./main.ts";
import { inTurn, median, ms, type Row, times } from "./stats.ts";

export async function commands(bench: Bench): Promise<Row[]> {
  const { world, ssh } = bench;
  const cold = await inTurn(
    20,
    () => succeed(world.cli(["-t", "bench", "true"])),
    () =>
      succeed(
        new Deno.Command("ssh", { args: [...ssh.args, "true"], stdin: "null", stdout: "null" }),
      ),
  );
  const handshake = await inTurn(
    100,
    async () => await (await connectAgent(bench))[Symbol.asyncDispose](),
    async () => await (await connectSshd(bench))[Symbol.asyncDispose](),
  );
  await using agent = await connectAgent(bench);
  await using sshd = await connectSshd(bench);
  const open = await inTurn(300, () => exec(agent, "true"), () => exec(sshd, "true"));
  const execMs = median(open[0]), execRatio = execMs / median(open[1]);
  return [
    compare("cold `true`, process to exit", cold),
    compare("handshake, both certificates", handshake),
    {
      ...compare("exec on an open connection", open),
      bar: "≤ 1.5 × and ≤ 8 ms:",
      reached: execRatio <= 1.5 && execMs <= 8,
    },
  ];
}

const compare = (what: string, [ours, theirs]: readonly [number[], number[]]): Row => ({
  what,
  openbox: ms(median(ours)),
  openssh: ms(median(theirs)),
  ratio: times(median(ours) / median(theirs)),
});

/** Runs a program to its end; what it says on stderr is shown. */
export async function succeed(command: Deno.Command): Promise<void> {
  const { success, code } = await command.spawn().status;
  if (!success) throw new Error(`a command ended with ${code}`);
}
