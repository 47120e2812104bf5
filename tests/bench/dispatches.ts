/** Dispatches a second of the control plane, certificates and all, over kept connections. */
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import type { Bench } from "./main.ts";
import { ms, percentile, perSecond, type Row } from "./stats.ts";

const CLIENTS = 16, COUNT = 12_000;

export async function dispatches({ world }: Bench): Promise<Row[]> {
  const body = JSON.stringify({
    node_id: world.nodeId,
    client_pubkey: authorizedLine(generateKey()),
    isolation: "native",
  });
  const headers = { authorization: `Bearer ${world.token}`, "content-type": "application/json" };
  const dispatch = async () => {
    const answer = await fetch(`${world.server}/v1/dispatch`, { method: "POST", headers, body });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
  };
  const measure = async (count: number) => {
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
  await measure(2000);
  const { took, rate } = await measure(COUNT);
  const p50 = percentile(took, 0.5), p99 = percentile(took, 0.99);
  return [
    {
      what: `dispatch, ${CLIENTS} clients`,
      openbox: perSecond(rate),
      bar: "≥ 1,500/s:",
      reached: rate >= 1500,
    },
    { what: "  p50", openbox: ms(p50) },
    { what: "  p99", openbox: ms(p99), bar: "≤ 50 ms:", reached: p99 <= 50 },
  ];
}
