/** The clients of a round: each does one kind of thing again and again, and notes what it was told. */
import type { Socket } from "node:net";
import { parseEnrollToken, signEnrollProof } from "../../src/ca/enroll_proof.ts";
import { trustPair } from "../../src/ca/trust.ts";
import { openRun } from "../../src/client/exec.ts";
import { type ControlClient, createControlClient } from "../../src/client/control_client.ts";
import { parseServerUrl } from "../../src/client/server_url.ts";
import { systemClock } from "../../src/clock.ts";
import { concat, text } from "../../src/bytes.ts";
import { toOpenboxError } from "../../src/errors.ts";
import { newRunId } from "../../src/ids.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { parseCertificate, parseCertificateLine } from "../../src/ssh/certificate.ts";
import type { ByteSource } from "../../src/ssh/channel.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { tcpTransport } from "../../src/transport/tcp.ts";
import type { History, RunFact } from "./history.ts";
import type { ChaosWorld } from "./world.ts";

export interface Load extends AsyncDisposable {
  /** Resolves when every client has ended what it was at. */
  stop(): Promise<void>;
}

/** No client waits longer for anything. */
const MOST_MS = 45_000;
const OUTPUT = Array.from({ length: 3000 }, (_, i) => `${i + 1}\n`).join("");

export function startLoad(world: ChaosWorld, history: History, round: number): Load {
  const stopping = new AbortController();
  const clients = world.controls.map(({ forClients }) =>
    createControlClient({
      server: parseServerUrl(`http://127.0.0.1:${forClients.port}`, "chaos"),
      token: world.token,
    })
  );
  const anyOf = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!;
  const control = () => anyOf(clients);

  /** Once more and again, until the round ends; what fails is noted, and not hurried. */
  async function loop(act: (i: number) => Promise<void>): Promise<void> {
    for (let i = 0; !stopping.signal.aborted; i++) {
      const startedAt = performance.now();
      try {
        await act(i);
      } catch (error) {
        const { code } = toOpenboxError(error);
        history.failures.push({ code, ms: performance.now() - startedAt });
        await systemClock.sleep(20 + 30 * Math.random());
      }
    }
  }

  const loops = [
    ...Array.from(
      { length: 3 },
      () => loop(() => runOnce(world, control(), history, anyOf(world.agents).nodeId)),
    ),
    ...Array.from({ length: 2 }, () => loop(() => runInSession(world, control(), history))),
    loop((i) => enroll(clients, anyOf, history, `fresh-${round}-${i}`)),
    loop((i) => rename(control(), history, world.agents[0]!.nodeId, `${round}-${i}`)),
    loop(() => dispatch(control(), history, anyOf(world.agents).nodeId)),
  ];
  const ended = Promise.all(loops);
  return {
    async stop() {
      stopping.abort();
      await ended;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await ended;
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
    },
  };
}

const KEY = generateKey();

const execDeps = (world: ChaosWorld, control: ControlClient) => ({
  control,
  key: KEY,
  clock: systemClock,
  dial: (addr: string, options: { readonly signal: AbortSignal }) =>
    tcpTransport.dial(addr, options) as Promise<Socket>,
  checkCa: () => trustPair(world.ca),
});

async function runOnce(
  world: ChaosWorld,
  control: ControlClient,
  history: History,
  node: string,
): Promise<void> {
  const id = newRunId(), code = 3;
  const line =
    `echo ran >>${world.counters}/${id}; seq 1 1500; sleep 0.05; seq 1501 3000; exit ${code}`;
  const wanted = { output: OUTPUT, code };
  const note = (fact: Pick<RunFact, "outcome" | "code" | "got">) =>
    history.runs.push({ id, wanted, ...fact });
  const signal = AbortSignal.timeout(MOST_MS);
  let run;
  try {
    run = await openRun(
      { node, isolation: NATIVE },
      { line, runId: id },
      execDeps(world, control),
      { signal },
    );
  } catch (error) {
    note({ outcome: "not_started", code: 255, got: "" });
    throw error;
  }
  await using _ = run;
  run.endInput();
  const [got] = await Promise.all([readAll(run.stdout), readAll(run.stderr)]);
  const { outcome, code: ended } = await run.end;
  note({ outcome, code: ended, got });
}

async function runInSession(
  world: ChaosWorld,
  control: ControlClient,
  history: History,
): Promise<void> {
  const name = `s${Math.floor(Math.random() * 3)}`;
  const signal = AbortSignal.timeout(MOST_MS);
  const target = { tag: "box", session: name, isolation: undefined };
  await using run = await openRun(target, { line: "echo here" }, execDeps(world, control), {
    signal,
  });
  history.sessions.push({ name, nodeId: run.nodeId });
  run.endInput();
  await Promise.all([readAll(run.stdout), readAll(run.stderr), run.end]);
}

/** Two machines with one token, at once. */
async function enroll(
  clients: readonly ControlClient[],
  anyOf: <T>(list: readonly T[]) => T,
  history: History,
  name: string,
): Promise<void> {
  const made = await anyOf(clients).createEnrollToken({});
  const token = parseEnrollToken(made.token)!;
  const acknowledged: string[] = [];
  const attempts = await Promise.allSettled([0, 1].map(async () => {
    const key = generateKey();
    const { node_id } = await anyOf(clients).register({
      enroll_token: made.token,
      name,
      host_pubkey: authorizedLine(key),
      addr: "127.0.0.1:7600",
      os: "linux",
      arch: "amd64",
      tags: [],
      proof: signEnrollProof(token, key),
    });
    acknowledged.push(node_id);
  }));
  history.enrolls.push({ name, acknowledged });
  const failed = attempts.find(({ status }) => status === "rejected");
  if (acknowledged.length === 0 && failed?.status === "rejected") throw failed.reason;
}

/** One writer to one value: the tags of a node. */
async function rename(
  control: ControlClient,
  history: History,
  nodeId: string,
  value: string,
): Promise<void> {
  const key = `tag of ${nodeId}`;
  const at = history.writes.push({ key, value, acknowledged: false }) - 1;
  const { name } = await control.node(nodeId);
  await control.updateNode(nodeId, { name, tags: ["box", `v${value}`] });
  history.writes[at] = { key, value, acknowledged: true };
}

async function dispatch(control: ControlClient, history: History, nodeId: string): Promise<void> {
  const { user_cert } = await control.dispatch({
    node_id: nodeId,
    client_pubkey: authorizedLine(KEY),
  });
  history.serials.push(String(parseCertificate(parseCertificateLine(user_cert)).serial));
}

async function readAll(source: ByteSource): Promise<string> {
  const parts: Uint8Array[] = [];
  for (let part; (part = await source.read()) !== null;) parts.push(part);
  return text(concat(parts));
}
