// deno-lint-ignore-file no-console
/** `deno task soak`: ten commands a second through one daemon, and what is left of them. */
import { askDaemon } from "../../src/cli/ask_daemon.ts";
import { isOn } from "../../src/host.ts";
import type { DaemonStatus } from "../../src/ipc/messages.ts";
import { formatTable, mib, ms, percentile, type Row } from "../bench/stats.ts";
import { startDaemon, startWorld, type World } from "../bench/world.ts";
import { createLoad } from "./load.ts";
import { look, Series, wakeUps } from "./watch.ts";

const minutes = Number(Deno.args[0] ?? 30);
if (!(minutes >= 2) || Deno.build.os !== "linux") {
  console.error("soak: scripts/soak [MINUTES], 2 at least, on Linux");
  Deno.exit(2);
}
const PER_SECOND = 10, LOOK_MS = 1000, MOST_MS = 150;
/** Windows of which the least value counts: of memory long enough for a collection of garbage. */
const WINDOW_SECONDS = 10, MEMORY_WINDOW_SECONDS = 30;
/**
 * What may seem to have grown, whatever the time: one command's worth of each, and of memory what V8 lets
 * gather before it collects. `scripts/bench slope` looks at memory more closely, over tens of thousands.
 */
const MOST_GROWN = { descriptors: 2, connections: 1, timers: 2, memory: 16 * 2 ** 20 };
/** How long nothing runs, before and after, to see what wakes a process then; and by how much more. */
const REST_MS = 10_000, MOST_MORE_WAKE_UPS = 5;
/** Other work shares the machine: its times and its memory say little. */
const isShared = isOn(Deno.env.get("CI"));

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

interface Watched {
  readonly name: string;
  readonly pid: number;
  readonly memory: Series;
  readonly descriptors: Series;
}

await using world = await startWorld();
await using daemon = await startDaemon(world);
const watched: Watched[] = [["daemon", daemon.pid], ["agent", world.agentPid]].map((
  [name, pid],
) => ({ name, pid, memory: new Series(), descriptors: new Series() } as Watched));
const connections = new Series(), timers = new Series();
const times: number[] = [], faults: string[] = [];
let fresh: number[] = [];

const load = createLoad(world);
for (let warm = 0; warm < 10; warm++) take(await load.next());
times.length = fresh.length = 0;
const before = await atRest();
const startedAt = performance.now(), seconds = () => (performance.now() - startedAt) / 1000;
console.log(
  `soak: ${minutes} minutes at ${PER_SECOND} commands/s; daemon ${daemon.pid}, agent ${world.agentPid}`,
);
const ending = new AbortController();
const watching = watch(ending.signal);
await run();
ending.abort();
await watching;
const after = await atRest();
faults.push(...load.findFaults());

const rows = judge();
console.log("\n" + formatTable(rows));
for (const fault of faults.slice(0, 10)) console.log(`failed: ${fault}`);
const missed = rows.some(({ reached }) => reached === false);
console.log(missed ? "soak: FAILED" : "soak: passed");
if (missed) Deno.exitCode = 1;

/** Each second's commands are started whether or not those before have ended. */
async function run(): Promise<void> {
  const underWay = new Set<Promise<void>>();
  const count = Math.round(minutes * 60 * PER_SECOND);
  for (let n = 0; n < count; n++) {
    await sleep(startedAt + n * 1000 / PER_SECOND - performance.now());
    const one = load.next().then(take);
    underWay.add(one);
    void one.finally(() => underWay.delete(one));
    if ((n + 1) % (60 * PER_SECOND) === 0) tellMinute((n + 1) / (60 * PER_SECOND));
  }
  await Promise.all(underWay);
}

function take(end: number | string): void {
  if (typeof end === "string") faults.push(end);
  else {
    times.push(end);
    fresh.push(end);
  }
}

async function watch(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const { pid, memory, descriptors } of watched) {
      const held = await look(pid);
      memory.add(seconds(), held.memory);
      descriptors.add(seconds(), held.descriptors);
    }
    const status = await statusOf(world);
    connections.add(seconds(), status.connections.length);
    timers.add(seconds(), status.timers);
    await sleep(LOOK_MS);
  }
}

async function statusOf({ cliEnv }: World): Promise<DaemonStatus> {
  const answer = await askDaemon({ ask: "status" }, {
    env: (name) => cliEnv[name],
    cwd: Deno.cwd,
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer) throw new Error("the daemon is gone");
  return answer as unknown as DaemonStatus;
}

/** How often each is woken in a second in which nothing runs. */
async function atRest(): Promise<number[]> {
  await sleep(1000); // what the last command left to do
  const counts = () => Promise.all(watched.map(({ pid }) => wakeUps(pid)));
  const begun = await counts();
  await sleep(REST_MS);
  const ended = await counts();
  return ended.map((count, i) => (count - begun[i]!) / (REST_MS / 1000));
}

function tellMinute(minute: number): void {
  const held = watched.map(({ name, memory, descriptors }) =>
    `${name} ${mib(memory.last)}, ${descriptors.last} descriptors`
  );
  console.log(
    `minute ${minute}: ${times.length} commands, ${faults.length} failed; ` +
      `p50 ${ms(percentile(fresh, 0.5))}, p99 ${ms(percentile(fresh, 0.99))}; ${
        held.join("; ")
      }; ${connections.last} connections, ${timers.last} timers`,
  );
  fresh = [];
}

function judge(): Row[] {
  const p99 = percentile(times, 0.99);
  const grew = (what: string, grown: number, most: number, show: (grown: number) => string) => ({
    what: `${what}, grown`,
    openbox: show(grown),
    bar: `≤ ${show(most)}:`,
    reached: grown <= most,
  });
  const memory = watched.map((one) =>
    grew(
      `${one.name}, memory`,
      one.memory.grown(MEMORY_WINDOW_SECONDS),
      MOST_GROWN.memory,
      mib,
    )
  );
  const few = (count: number) => count.toFixed(1);
  const slow: Row[] = [{
    what: "p99",
    openbox: ms(p99),
    bar: `≤ ${MOST_MS} ms:`,
    reached: p99 <= MOST_MS,
  }, ...memory];
  return [
    {
      what: "commands",
      openbox: `${times.length + faults.length}, ${faults.length} failed`,
      bar: "none fails:",
      reached: faults.length === 0,
    },
    { what: "p50", openbox: ms(percentile(times, 0.5)) },
    ...isShared ? slow.map(({ what, openbox }) => ({ what, openbox })) : slow,
    ...watched.map(({ name, descriptors }) =>
      grew(
        `${name}, descriptors`,
        descriptors.grown(WINDOW_SECONDS),
        MOST_GROWN.descriptors,
        few,
      )
    ),
    grew("daemon, connections", connections.grown(WINDOW_SECONDS), MOST_GROWN.connections, few),
    grew("daemon, timers", timers.grown(WINDOW_SECONDS), MOST_GROWN.timers, few),
    ...watched.map(({ name }, i) => ({
      what: `${name}, woken a second at rest, before and after`,
      openbox: `${few(before[i]!)}, ${few(after[i]!)}`,
      bar: `≤ ${MOST_MORE_WAKE_UPS} more:`,
      reached: after[i]! - before[i]! <= MOST_MORE_WAKE_UPS,
    })),
  ];
}
