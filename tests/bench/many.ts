/** 200 nodes and one daemon: `true` on each, all at once. */
import { deadline } from "../../src/abort.ts";
import { greetDaemon } from "../../src/cli/through_daemon.ts";
import { newRunId } from "../../src/ids.ts";
import { generationOf } from "../../src/ipc/generation.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { processHost } from "../../src/process_host.ts";
import { succeed } from "./commands.ts";
import type { Bench } from "./main.ts";
import { startNodes } from "./nodes.ts";
import { type Row, time } from "./stats.ts";
import { startDaemon, type World } from "./world.ts";

const MANY = 200;
const MOST_SECONDS = 3;

export async function many({ world, say }: Bench): Promise<Row[]> {
  say(`starting ${MANY} nodes`);
  await using nodes = await startNodes(world, MANY);
  await succeed(world.cli(["-t", "bench", "true"])); // the first command of a login makes its key
  await using _daemon = await startDaemon(world);
  let busy = 0;
  const call = createCaller(world, () => busy++);
  const onEach = (one: (nodeId: string) => Promise<void>) =>
    time(() => Promise.all(nodes.ids.map(one)));
  const first = await onEach(call), second = await onEach(call);
  const processes = await onEach((id) =>
    succeed(world.cli(["--node", id, "true"], { daemon: true }))
  );
  say(`many: the daemon was too busy to greet ${busy} times`);
  const row = (what: string, ms: number) => ({ what, openbox: seconds(ms) });
  return [
    {
      ...row(`${MANY} nodes, one daemon, \`true\` on each, first contact`, first),
      bar: `≤ ${MOST_SECONDS} s:`,
      reached: first <= MOST_SECONDS * 1000,
    },
    row("  again, warm", second),
    row(`  again, by ${MANY} processes of the CLI at once`, processes),
  ];
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

/**
 * Runs `true` on a node through the daemon, as the CLI does, without a process for each. Where the CLI would go
 * another way, the daemon having been too busy to greet it, this one asks again.
 */
export function createCaller(
  { cliEnv }: World,
  onBusy = () => {},
): (nodeId: string) => Promise<void> {
  const home = cliEnv.OPENBOX_HOME!, path = `${home}/openboxd.sock`;
  const generation = generationOf(home), host = processHost();
  host.release();
  return async (node) => {
    using limit = deadline(60_000, () => new Error(`no answer from ${node}`));
    const own = { ...host, signal: limit.signal }, run_id = newRunId();
    const call = { run_id, target: { node, isolation: NATIVE }, command: { line: "true" } };
    const ask = async () => {
      const greeted = await greetDaemon(Deno.connect({ transport: "unix", path }), generation);
      await greeted?.send(call);
      return await greeted?.accepted(own);
    };
    let taken;
    while (!(taken = await ask())) onBusy();
    await using run = await taken.started(own);
    run.endInput();
    const [outcome] = await Promise.all([run.end, drain(run.stdout), drain(run.stderr)]);
    if (outcome.code !== 0) throw new Error(JSON.stringify(outcome));
  };
}

async function drain(source: { read(): Promise<Uint8Array | null> }): Promise<void> {
  while (await source.read());
}
