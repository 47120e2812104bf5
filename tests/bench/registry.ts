/** A large fleet on one control plane: 10,000 nodes that beat, and what a dispatch costs among them. */
import { newNodeId, newNodeToken } from "../../src/ids.ts";
import { Secret } from "../../src/secret.ts";
import { systemClock } from "../../src/clock.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import type { AuditEntry } from "../../src/store/audit.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { cpuSeconds, startBenchControl } from "./control_plane.ts";
import type { Bench } from "./main.ts";
import { ms, percentile, type Row } from "./stats.ts";

const NODES = 10_000, TAGS = 100;
const BEAT_MS = 30_000;

interface BenchNode {
  readonly id: string;
  readonly token: string;
}

export async function registry({ say }: Bench): Promise<Row[]> {
  const home = await Deno.makeTempDir({ prefix: "openbox-bench-registry-" });
  try {
    await Deno.mkdir(`${home}/control`, { mode: 0o700 });
    say(`registry: enrolling ${NODES} nodes`);
    let nodes: BenchNode[];
    {
      await using store = await openSqliteStore(`${home}/control/openbox.db`, {
        clock: systemClock,
      });
      nodes = await fill(store);
    }
    await using control = await startBenchControl(home);
    const dispatch = async (tag: string) => {
      const answer = await fetch(`${control.server}/v1/dispatch`, {
        method: "POST",
        headers: { authorization: `Bearer ${control.token}` },
        body: JSON.stringify({ tag, client_pubkey: KEY }),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(text);
    };
    const measure = async (count: number) => {
      const took: number[] = [];
      for (let i = 0; i < count; i++) {
        const at = performance.now();
        await dispatch(`tag-${i % TAGS}`);
        took.push(performance.now() - at);
      }
      return took;
    };
    const beat = async ({ id, token }: BenchNode) => {
      const answer = await fetch(`${control.server}/v1/nodes/heartbeat`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({ node_id: id, addr: "127.0.0.1:7600", load: [0.1, 0.2, 0.3] }),
      });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`a beat: ${answer.status}`);
    };
    say("registry: all come online");
    for (let i = 0; i < NODES; i += 16) await Promise.all(nodes.slice(i, i + 16).map(beat));
    await measure(300);
    const idle = percentile(await measure(1500), 0.99);

    say("registry: beating, twice around");
    const stop = new AbortController();
    const beating = keepBeating(nodes, beat, stop.signal);
    const before = await cpuSeconds(control.pid), startedAt = performance.now();
    await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
    const cpu = (await cpuSeconds(control.pid) - before) /
      ((performance.now() - startedAt) / 1000);
    const loaded = percentile(await measure(1500), 0.99);
    stop.abort();
    await beating;
    return [
      {
        what: `${NODES} nodes, a beat each 30 s: of one core`,
        openbox: `${(cpu * 100).toFixed(1)} %`,
        bar: "≤ 25 %:",
        reached: cpu <= 0.25,
      },
      {
        what: "  dispatch by tag among them, p99",
        openbox: ms(idle),
        bar: "≤ 20 ms:",
        reached: idle <= 20,
      },
      {
        what: "  the same while they beat, p99",
        openbox: ms(loaded),
        ratio: `${(loaded / idle).toFixed(2)} ×`,
        bar: "≤ 2 ×:",
        reached: loaded <= 2 * idle,
      },
    ];
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

const KEY = authorizedLine(generateKey());

const ENTRY: AuditEntry = {
  at: 0,
  accountId: undefined,
  action: "node.enroll",
  outcome: "allowed",
  actor: "system",
};

async function fill(store: Store): Promise<BenchNode[]> {
  const now = Date.now();
  const user = await store.createAccount("me", now, ENTRY);
  const nodes: BenchNode[] = [];
  for (let i = 0; i < NODES; i++) {
    const node = { id: newNodeId(), token: newNodeToken() }, secret = new Secret(`secret ${i}`);
    await store.addEnrollToken({
      accountId: user.accountId,
      createdBy: user.id,
      secret,
      tags: [`tag-${i % TAGS}`, "all"],
      uses: 1,
      createdAt: now,
      expiresAt: now + 3600_000,
    }, ENTRY);
    await store.registerNode({
      secret,
      nodeId: node.id,
      nodeToken: new Secret(node.token),
      name: `node-${i}`,
      addr: "127.0.0.1:7600",
      os: "linux",
      arch: "amd64",
      hostKey: authorizedLine(generateKey()),
      now,
    }, ENTRY);
    nodes.push(node);
  }
  return nodes;
}

/** Each node once in 30 s, spread evenly. */
async function keepBeating(
  nodes: readonly BenchNode[],
  beat: (node: BenchNode) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  const open = new Set<Promise<void>>();
  for (let sent = 0; !signal.aborted;) {
    const due = Math.floor((performance.now() - startedAt) / BEAT_MS * nodes.length);
    for (; sent < due; sent++) {
      const one: Promise<void> = beat(nodes[sent % nodes.length]!).finally(() => open.delete(one));
      open.add(one);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await Promise.all(open);
}
