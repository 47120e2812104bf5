/** Memory of the services and the daemon: before anybody connects, and what 20,000 connections more leave behind. */
import { connect } from "node:net";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { connectAgent } from "./clients.ts";
import { succeed } from "./commands.ts";
import type { Bench } from "./main.ts";
import { createCaller } from "./many.ts";
import { startNodes } from "./nodes.ts";
import { mib, type Row, slopeOf } from "./stats.ts";
import { residentBytes, startDaemon } from "./world.ts";

const MIB = 2 ** 20;
const STEP = 20_000, CLIENTS = 8;
const WARM = 400, WARM_STEP = 40;

async function atRest({ world }: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (
    const [name, pid] of [["control plane", world.controlPid], ["agent", world.agentPid]] as const
  ) {
    const bytes = await residentBytes(pid);
    rows.push({
      what: `${name} at rest`,
      openbox: mib(bytes),
      bar: "≤ 100 MiB:",
      reached: bytes <= 100 * MIB,
    });
  }
  return rows;
}

async function slope(bench: Bench): Promise<Row[]> {
  const { world } = bench;
  const toAgent = async () => await (await connectAgent(bench))[Symbol.asyncDispose]();
  const toControl = () => dispatchOnce(world.server, world.token, world.nodeId);
  await succeed(world.cli(["-t", "bench", "true"])); // the first command of a login makes its key
  await using daemon = await startDaemon(world);
  const call = createCaller(world);
  const toDaemon = () => call(world.nodeId);
  const rows: Row[] = [];
  for (
    const [name, pid, act, of = "connections"] of [
      ["agent", world.agentPid, toAgent],
      ["control plane", world.controlPid, toControl],
      ["daemon", daemon.pid, toDaemon, "commands"],
    ] as const
  ) {
    const marks: number[] = [];
    for (const _ of [1, 2]) {
      await repeat(STEP, act);
      marks.push(await settled(pid));
      bench.say(`${name}: ${mib(marks.at(-1)!)} after ${marks.length * STEP} ${of}`);
    }
    const per10k = (marks[1]! - marks[0]!) / (STEP / 10_000);
    rows.push({ what: `${name}, plateau`, openbox: mib(marks[1]!) }, {
      what: `${name}, slope per 10,000 ${of}`,
      openbox: mib(per10k),
      bar: "≤ 1 MiB:",
      reached: per10k <= MIB,
    });
  }
  return rows;
}

/** Warm connections, to nodes of their own each: what one more of them costs. */
async function daemon(bench: Bench): Promise<Row[]> {
  const { world, say } = bench;
  say(`starting ${WARM} nodes`);
  await using nodes = await startNodes(world, WARM);
  await succeed(world.cli(["-t", "bench", "true"])); // the first command of a login makes its key
  await using daemon = await startDaemon(world);
  const started = await settled(daemon.pid), call = createCaller(world);
  await call(world.nodeId);
  const used = await settled(daemon.pid);
  const marks: [connections: number, bytes: number][] = [];
  for (let warm = 0; warm < WARM; warm += WARM_STEP) {
    for (const id of nodes.ids.slice(warm, warm + WARM_STEP)) await call(id);
    marks.push([warm + WARM_STEP, await settled(daemon.pid)]);
    say(`daemon: ${mib(marks.at(-1)![1])} with ${warm + WARM_STEP} connections`);
  }
  const each = slopeOf(marks);
  return [
    { what: "daemon, started", openbox: mib(started) },
    {
      what: "daemon at rest, after one command",
      openbox: mib(used),
      bar: "≤ 100 MiB:",
      reached: used <= 100 * MIB,
    },
    {
      what: "daemon, a further warm connection",
      openbox: `${(each / 1024).toFixed(0)} KiB`,
      bar: "≤ 120 KiB:",
      reached: each <= 120 * 1024,
    },
  ];
}

export const memory = { atRest, daemon, slope };

async function repeat(count: number, act: () => Promise<void>): Promise<void> {
  let begun = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (begun++ < count) await act();
  }));
}

/** The least of some readings: between two collections of garbage the process is larger than it need be. */
async function settled(pid: number): Promise<number> {
  const readings: number[] = [];
  for (let i = 0; i < 10; i++) {
    readings.push(await residentBytes(pid));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return Math.min(...readings);
}

const clientKey = authorizedLine(generateKey());

/** A dispatch over a connection of its own, by hand: fetch would keep it. */
function dispatchOnce(server: string, token: string, nodeId: string): Promise<void> {
  const { hostname, port } = new URL(server);
  const body = JSON.stringify({ node_id: nodeId, client_pubkey: clientKey, isolation: "native" });
  const request = [
    "POST /v1/dispatch HTTP/1.1",
    `host: ${hostname}:${port}`,
    `authorization: Bearer ${token}`,
    "content-type: application/json",
    `content-length: ${body.length}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(
      { host: hostname, port: Number(port), noDelay: true },
      () => socket.write(request),
    );
    socket.on("data", (bytes: Uint8Array) => answer += new TextDecoder().decode(bytes));
    socket.on("error", reject);
    socket.on(
      "close",
      () =>
        answer.startsWith("HTTP/1.1 200")
          ? resolve()
          : reject(new Error(answer.slice(0, 200) || "no answer")),
    );
  });
}
