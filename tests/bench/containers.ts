/** What docker costs through openbox, beside `docker run` itself. Nothing where no engine answers. */
import { sharedHost } from "../fixtures/docker_host.ts";
import { api, makeImage } from "../fixtures/dockerd.ts";
import { connectAgent, exec } from "./clients.ts";
import { succeed } from "./commands.ts";
import type { Bench } from "./main.ts";
import { inTurn, median, ms, type Row, time, times } from "./stats.ts";

const RUNS = 15, COMMANDS = 60, STARTS = 5;
const MOST_TIMES = 1.2;
/** Somebody who types, or a script that does something between its commands. */
const PAUSE_MS = 200;

export async function containers(bench: Bench): Promise<Row[]> {
  const host = sharedHost();
  const answers = host !== undefined &&
    await api(host, "GET", "/_ping").then(() => true, () => false);
  if (!answers) {
    bench.say("no docker engine answers: its rows are left out");
    return [];
  }
  const image = await makeImage(host, "openbox-bench");
  const isolation = `docker:${image}`;
  await using agent = await connectAgent(bench, { isolation });
  const [ours, theirs] = await inTurn(
    RUNS,
    () => exec(agent, "true"),
    () =>
      succeed(
        new Deno.Command("docker", {
          args: ["run", "--rm", image, "/bin/sh", "-c", "true"],
          env: { DOCKER_HOST: host },
          stdin: "null",
          stdout: "null",
        }),
      ),
  );
  const starts: number[] = [];
  for (let count = 0; count < STARTS; count++) {
    const session = `bench-docker-${count}`;
    await using starting = await connectAgent(bench, { isolation, session });
    starts.push(await time(() => exec(starting, "true")));
    await exec(starting, "exit");
    await bench.world.control.deleteSession(session, { ended: true });
  }
  await using session = await connectAgent(bench, { isolation, session: "bench-docker" });
  await exec(session, "true");
  const spaced: number[] = [], burst: number[] = [];
  for (let count = 0; count < COMMANDS / 2; count++) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    spaced.push(await time(() => exec(session, "true")));
  }
  for (let count = 0; count < COMMANDS; count++) {
    burst.push(await time(() => exec(session, "true")));
  }
  const ratio = median(ours) / median(theirs);
  return [
    {
      what: "docker run, beside `docker run --rm`",
      openbox: ms(median(ours)),
      openssh: ms(median(theirs)),
      ratio: times(ratio),
      bar: `≤ ${MOST_TIMES} ×`,
      reached: ratio <= MOST_TIMES,
    },
    { what: "docker session start, with its first command", openbox: ms(median(starts)) },
    { what: `docker session command, ${PAUSE_MS} ms apart`, openbox: ms(median(spaced)) },
    { what: "docker session command, one after another", openbox: ms(median(burst)) },
  ];
}
