/** Connections a second, each with authentication and one command: one after another, and four at once. */
import { succeed } from "./commands.ts";
import { connectAgent, connectSshd, exec } from "./clients.ts";
import type { Bench } from "./main.ts";
import { perSecond, type Row, times } from "./stats.ts";

const SECONDS = 6;
const BAR = 3;

export async function connections(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const clients of [1, 4]) {
    const agent = () => connectAndRun(connectAgent, bench),
      sshd = () => connectAndRun(connectSshd, bench);
    const stock = () =>
      succeed(
        new Deno.Command("ssh", {
          args: [...bench.ssh.args, "true"],
          stdin: "null",
          stdout: "null",
        }),
      );
    const ours = await rate(clients, agent),
      theirs = await rate(clients, stock),
      mixed = await rate(clients, sshd);
    rows.push({
      what: `connect + auth + exec, ${clients} at once`,
      openbox: perSecond(ours),
      openssh: perSecond(theirs),
      ratio: times(ours / theirs),
      ...(clients === 4 && { bar: `≥ ${BAR} ×:`, reached: ours / theirs >= BAR }),
    }, {
      what: "  the same, our client on sshd",
      openbox: "-",
      openssh: perSecond(mixed),
      ratio: times(ours / mixed),
    });
  }
  return rows;
}

async function connectAndRun(connect: typeof connectAgent, bench: Bench): Promise<void> {
  await using connection = await connect(bench);
  await exec(connection, "true");
}

/** How often `act` ends in a second when so many do it one after another. */
async function rate(clients: number, act: () => Promise<void>): Promise<number> {
  await act();
  const start = performance.now(), end = start + SECONDS * 1000;
  let count = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    for (; performance.now() < end; count++) await act();
  }));
  return count / ((performance.now() - start) / 1000);
}
