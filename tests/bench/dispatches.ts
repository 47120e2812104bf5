/** Dispatches a second of the control plane, certificates and audit and all, over kept connections: on both databases. */
import { parseEnrollToken, signEnrollProof } from "../../src/ca/enroll_proof.ts";
import { createControlClient } from "../../src/client/control_client.ts";
import { parseServerUrl } from "../../src/client/server_url.ts";
import { Secret } from "../../src/secret.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { findProgram } from "../fixtures/component.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { startBenchControl } from "./control_plane.ts";
import type { Bench } from "./main.ts";
import { ms, percentile, perSecond, type Row } from "./stats.ts";

const CLIENTS = 16, COUNT = 12_000;

export async function dispatches({ world, say }: Bench): Promise<Row[]> {
  const rows = await measure("SQLite", world, world.nodeId, { rate: 1500, p99: 50 });
  if (findProgram("postgres") === undefined) {
    say("dispatches: no Postgres is installed, so only SQLite was measured");
    return rows;
  }
  const home = await Deno.makeTempDir({ prefix: "openbox-bench-postgres-" });
  try {
    await using server = await startPostgres();
    const dsn = server.dsn(await server.newDatabase(), "sslmode=disable");
    await using control = await startBenchControl(home, dsn);
    return [...rows, ...await measure("Postgres", control, await enroll(control), undefined)];
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

interface Server {
  readonly server: string;
  readonly token: string;
}

async function measure(
  database: string,
  { server, token }: Server,
  nodeId: string,
  bar: { readonly rate: number; readonly p99: number } | undefined,
): Promise<Row[]> {
  const body = JSON.stringify({
    node_id: nodeId,
    client_pubkey: authorizedLine(generateKey()),
    isolation: "native",
  });
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const dispatch = async () => {
    const answer = await fetch(`${server}/v1/dispatch`, { method: "POST", headers, body });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
  };
  const run = async (count: number) => {
    const took: number[] = [];
    const start = performance.now();
    let begun = 0;
    await Promise.all(Array.from({ length: CLIENTS }, async () => {
      while (begun++ < count) {
        const at = performance.now();
        await dispatch();
        took.push(performance.now() - at);
      }
    }));
    return { took, rate: took.length / ((performance.now() - start) / 1000) };
  };
  await run(2000);
  const { took, rate } = await run(COUNT);
  const p50 = percentile(took, 0.5), p99 = percentile(took, 0.99);
  return [
    {
      what: `dispatch with audit, ${CLIENTS} clients, ${database}`,
      openbox: perSecond(rate),
      ...(bar && { bar: `≥ ${bar.rate.toLocaleString("en")}/s:`, reached: rate >= bar.rate }),
    },
    { what: "  p50", openbox: ms(p50) },
    {
      what: "  p99",
      openbox: ms(p99),
      ...(bar && { bar: `≤ ${bar.p99} ms:`, reached: p99 <= bar.p99 }),
    },
  ];
}

/** A node that is online, though nobody is there. */
async function enroll({ server, token }: Server): Promise<string> {
  const at = { server: parseServerUrl(server, "bench") };
  await using control = createControlClient({ ...at, token: new Secret(token) });
  const made = await control.createEnrollToken({}), key = generateKey();
  const { node_id, node_token } = await control.register({
    enroll_token: made.token,
    name: "bench",
    host_pubkey: authorizedLine(key),
    addr: "127.0.0.1:7600",
    os: "linux",
    arch: "amd64",
    tags: [],
    proof: signEnrollProof(parseEnrollToken(made.token)!, key),
  });
  await using node = createControlClient({ ...at, token: new Secret(node_token) });
  await node.heartbeat({ node_id });
  return node_id;
}
