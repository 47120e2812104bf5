/** What a command costs a person, as a process from start to exit: with a daemon and without, alone and many at once. */
import { succeed } from "./commands.ts";
import type { Bench } from "./main.ts";
import { type Master, startMaster } from "./openssh.ts";
import { inTurns, median, ms, type Row, times } from "./stats.ts";
import { startDaemon } from "./world.ts";

const ROUNDS = 40, SEQUENCE = 100, AT_ONCE = 50;

export async function warm(bench: Bench): Promise<Row[]> {
  const { world, ssh } = bench;
  const line = ["-t", "bench", "true"];
  const inline = () => succeed(world.cli(line));
  const cold = () => succeed(sshCommand(ssh.args));
  const atOnce = (one: () => Promise<void>) => () =>
    Promise.all(Array.from({ length: AT_ONCE }, one));
  const rows: Row[] = [];

  const [coldOurs, coldSsh] = await inTurns(ROUNDS, inline, cold);
  rows.push(compare("cold `true`, no daemon", coldOurs, coldSsh, 0.6));

  {
    await using master: Master = await startMaster(ssh);
    await using _daemon = await startDaemon(world);
    const through = () => succeed(world.cli(line, { daemon: true }));
    const mux = () => succeed(sshCommand(master.args));
    await through();
    const [bare, ours, theirs] = await inTurns(ROUNDS, bareDeno, through, mux);
    const added = median(ours) - median(bare);
    rows.push({
      what: "warm `true`, beyond a bare Deno start",
      openbox: `${ms(added)} + ${ms(median(bare))}`,
      bar: "≤ 7 ms:",
      reached: added <= 7,
    }, compare("warm `true`, and ControlMaster", ours, theirs, 2.3));

    const inSequence = (one: () => Promise<void>) => async () => {
      for (let i = 0; i < SEQUENCE; i++) await one();
    };
    const [many, manyMux] = await inTurns(2, inSequence(through), inSequence(mux));
    rows.push(compare(`${SEQUENCE} warm in sequence, and ControlMaster`, many, manyMux, 2.4));

    const [crowd, crowdSsh] = await inTurns(4, atOnce(through), atOnce(cold));
    rows.push(compare(`${AT_ONCE} at once through the daemon, and cold ssh`, crowd, crowdSsh, 0.3));
  }
  const [crowd, crowdSsh] = await inTurns(4, atOnce(inline), atOnce(cold));
  rows.push(compare(`${AT_ONCE} at once without it, and cold ssh`, crowd, crowdSsh, 1.2));
  return rows;
}

const sshCommand = (args: readonly string[]) =>
  new Deno.Command("ssh", { args: [...args, "true"], stdin: "null", stdout: "null" });

/** The floor: Deno with an empty program, as openbox starts it. */
async function bareDeno(): Promise<void> {
  await succeed(
    new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-config", "--no-lock", EMPTY],
      stdin: "null",
      stdout: "null",
    }),
  );
}
const EMPTY = await Deno.makeTempFile({ suffix: ".js" });

function compare(
  what: string,
  ours: readonly number[],
  theirs: readonly number[],
  bar: number,
): Row {
  const ratio = median(ours) / median(theirs);
  return {
    what,
    openbox: ms(median(ours)),
    openssh: ms(median(theirs)),
    ratio: times(ratio),
    bar: `≤ ${bar} ×:`,
    reached: ratio <= bar,
  };
}
