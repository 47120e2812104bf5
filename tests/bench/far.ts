/** What a command costs on a machine that is far: everything but the CLI and its daemon is behind a slow line. */
import { succeed } from "./commands.ts";
import { openFar } from "./far_link.ts";
import type { Bench } from "./main.ts";
import { startMaster, startOpenSsh } from "./openssh.ts";
import { inTurn, median, ms, type Row, time, times } from "./stats.ts";
import { startDaemon, startWorld } from "./world.ts";

const ROUND_TRIP_MS = 20, ROUNDS = 30;

export async function far({ say }: Pick<Bench, "say">): Promise<Row[]> {
  await using place = await openFar(ROUND_TRIP_MS / 2);
  if (!place) {
    say("far: left out: it takes root on Linux, ip(8) and /dev/net/tun");
    return [];
  }
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "openbox-bench-tls-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const tls = { cert: `${directory}/tls.crt`, key: `${directory}/tls.key` };
  await makeTlsPair(tls, place.address);
  const world = stack.use(await startWorld({ ...place, tls }));
  const ssh = stack.use(await startOpenSsh(place));
  const roundTrip = await measureRoundTrip(place.address, ssh.port);
  const stock = (args: readonly string[]) =>
    new Deno.Command("ssh", { args: [...args, "true"], stdin: "null", stdout: "null" });
  const line = ["-t", "bench", "true"];

  const cold = await inTurn(
    ROUNDS,
    () => succeed(world.cli(line)),
    () => succeed(stock(ssh.args)),
  );
  const master = stack.use(await startMaster(ssh));
  stack.use(await startDaemon(world));
  const warm = await inTurn(
    ROUNDS,
    () => succeed(world.cli(line, { daemon: true })),
    () => succeed(stock(master.args)),
  );
  return [
    { what: "far: a round trip, by a connection's start", openbox: ms(roundTrip) },
    compare("  warm `true`, and ControlMaster", warm, 1.1),
    compare("  cold `true`, no daemon, HTTPS", cold, 0.6),
  ];
}

function compare(
  what: string,
  [ours, theirs]: readonly [number[], number[]],
  most: number,
): Row {
  const ratio = median(ours) / median(theirs);
  return {
    what,
    openbox: ms(median(ours)),
    openssh: ms(median(theirs)),
    ratio: times(ratio),
    bar: `≤ ${most} ×:`,
    reached: ratio <= most,
  };
}

async function measureRoundTrip(hostname: string, port: number): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < 20; i++) {
    samples.push(await time(async () => (await Deno.connect({ hostname, port })).close()));
  }
  return median(samples);
}

async function makeTlsPair(
  { cert, key }: { readonly cert: string; readonly key: string },
  address: string,
): Promise<void> {
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const names = ["-subj", "/CN=openbox-bench", "-addext", `subjectAltName=IP:${address}`];
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      "req",
      "-x509",
      ...curve,
      "-days",
      "2",
      "-keyout",
      key,
      "-out",
      cert,
      ...names,
      "-addext",
    ]
      .concat("basicConstraints=critical,CA:FALSE"),
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}
