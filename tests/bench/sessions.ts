/** What a session costs: its start, and a command in one that is there. OpenSSH has none, so a command of its own stands beside. */
import { connectAgent, connectSshd, exec } from "./clients.ts";
import type { Bench } from "./main.ts";
import { inTurn, median, ms, type Row, time, times } from "./stats.ts";

const STARTS = 15, COMMANDS = 300;
const MOST_MS = 8;

export async function sessions(bench: Bench): Promise<Row[]> {
  const starts: number[] = [];
  for (let count = 0; count < STARTS; count++) {
    const session = `bench-${count}`;
    await using agent = await connectAgent(bench, { session });
    starts.push(await time(() => exec(agent, "true")));
    await exec(agent, "exit");
    await bench.world.control.deleteSession(session, { ended: true });
  }
  await using agent = await connectAgent(bench, { session: "bench" });
  await using sshd = await connectSshd(bench);
  const [ours, theirs] = await inTurn(
    COMMANDS,
    () => exec(agent, "true"),
    () => exec(sshd, "true"),
  );
  return [
    {
      what: "session command on an open connection",
      openbox: ms(median(ours)),
      openssh: ms(median(theirs)),
      ratio: times(median(ours) / median(theirs)),
      bar: `≤ ${MOST_MS} ms`,
      reached: median(ours) <= MOST_MS,
    },
    { what: "session start, with its first command", openbox: ms(median(starts)) },
  ];
}
