/** 256 MiB out of a command and into one, through whole processes: ours and `ssh`. */
import { succeed } from "./commands.ts";
import type { Bench } from "./main.ts";
import { startDaemon } from "./world.ts";
import { inTurn, median, type Row, times } from "./stats.ts";

const BYTES = 256 * 2 ** 20;
const ROUNDS = 5;
const BAR = 0.8;

export async function throughput({ world, ssh }: Bench): Promise<Row[]> {
  const out = `head -c ${BYTES} /dev/zero`, into = "cat >/dev/null";
  const stdout = await inTurn(
    ROUNDS,
    () => succeed(world.cli(["-t", "bench", out])),
    () =>
      succeed(new Deno.Command("ssh", { args: [...ssh.args, out], stdin: "null", stdout: "null" })),
  );
  const stdin = await inTurn(
    ROUNDS,
    () => input(world.cli(["-t", "bench", into], { stdin: "piped" })),
    () =>
      input(new Deno.Command("ssh", { args: [...ssh.args, into], stdin: "piped", stdout: "null" })),
  );
  await using _daemon = await startDaemon(world);
  const daemon = true;
  await succeed(world.cli(["-t", "bench", "true"], { daemon }));
  const outThrough = await inTurn(
    ROUNDS,
    () => succeed(world.cli(["-t", "bench", out], { daemon })),
    () => succeed(world.cli(["-t", "bench", out])),
  );
  const inThrough = await inTurn(
    ROUNDS,
    () => input(world.cli(["-t", "bench", into], { stdin: "piped", daemon })),
    () => input(world.cli(["-t", "bench", into], { stdin: "piped" })),
  );
  return [
    row("stdout, 256 MiB", stdout),
    row("stdin, 256 MiB", stdin),
    throughDaemon("stdout, 256 MiB, through the daemon", outThrough),
    throughDaemon("stdin, 256 MiB, through the daemon", inThrough),
  ];
}

/** Beside the same without it. */
function throughDaemon(what: string, [through, direct]: readonly [number[], number[]]): Row {
  const [own, other] = [rate(median(through)), rate(median(direct))];
  return {
    what: `${what}, of ${mbs(other)}`,
    openbox: mbs(own),
    ratio: times(own / other),
    bar: `≥ ${BAR} ×:`,
    reached: own / other >= BAR,
  };
}

function row(what: string, [ours, theirs]: readonly [number[], number[]]): Row {
  const [own, other] = [rate(median(ours)), rate(median(theirs))];
  return {
    what,
    openbox: mbs(own),
    openssh: mbs(other),
    ratio: times(own / other),
    bar: `≥ ${BAR} ×:`,
    reached: own / other >= BAR,
  };
}

/** MB/s, start and end of the processes included. */
const rate = (ms: number): number => BYTES / 1e6 / (ms / 1000);
const mbs = (value: number): string => `${value.toFixed(0)} MB/s`;

async function input(command: Deno.Command): Promise<void> {
  const child = command.spawn(), writer = child.stdin.getWriter();
  const chunk = new Uint8Array(256 * 1024);
  for (let sent = 0; sent < BYTES; sent += chunk.length) await writer.write(chunk);
  await writer.close();
  if (!(await child.status).success) throw new Error("the command failed");
}
