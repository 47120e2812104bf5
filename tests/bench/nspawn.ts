/** What a container of a tree costs, beside systemd-nspawn itself with the same command on the same tree. */
import { findProgram } from "../fixtures/component.ts";
import { makeTree } from "../fixtures/nspawn_tree.ts";
import { connectAgent, exec } from "./clients.ts";
import { succeed } from "./commands.ts";
import type { Bench } from "./main.ts";
import { inTurn, median, ms, type Row, time, times } from "./stats.ts";

const RUNS = 30, STARTS = 10, COMMANDS = 200;

export async function nspawn(bench: Bench): Promise<Row[]> {
  const isRoot = Deno.build.os === "linux" && Deno.uid() === 0;
  if (!isRoot || !findProgram("systemd-nspawn") || !findProgram("busybox")) {
    bench.say("nspawn takes Linux, root, systemd-nspawn and busybox: left out");
    return [];
  }
  await using tree = await makeTree({ dir: bench.world.trees });
  const isolation = `nspawn:${tree.root}`;
  const [ours, plain] = await (async () => {
    await using agent = await connectAgent(bench, { isolation });
    const itself = new Deno.Command("systemd-nspawn", {
      args: ["-q", "--register=no", "--keep-unit", "--pipe", "-a", "-D", tree.root, "/bin/true"],
      stdin: "null",
      stderr: "null",
    });
    return await inTurn(RUNS, () => exec(agent, "true"), () => succeed(itself));
  })();
  const starts: number[] = [];
  for (let count = 0; count < STARTS; count++) {
    const session = `nspawn-${count}`;
    await using agent = await connectAgent(bench, { isolation, session });
    starts.push(await time(() => exec(agent, "true")));
    await exec(agent, "exit");
    await bench.world.control.deleteSession(session, { ended: true });
  }
  await using agent = await connectAgent(bench, { isolation, session: "nspawn" });
  const commands: number[] = [];
  for (let count = 0; count <= COMMANDS; count++) {
    const took = await time(() => exec(agent, "true"));
    if (count > 0) commands.push(took);
  }
  await exec(agent, "exit");
  return [
    {
      what: "nspawn, one run (beside it: systemd-nspawn itself)",
      openbox: ms(median(ours)),
      openssh: ms(median(plain)),
      ratio: times(median(ours) / median(plain)),
    },
    { what: "nspawn session command", openbox: ms(median(commands)) },
    { what: "nspawn session start, with its first command", openbox: ms(median(starts)) },
  ];
}
