/**
 * Callers in a process of their own: `control_load_client.ts URL KEY TOKEN MS BEATS`. Eight connections
 * dispatch until the time is over while nodes beat; prints what became of the calls as JSON.
 */
const [url, key, token, ms, beats] = Deno.args as [string, string, string, string, string];
const nodes: { id: string; token: string }[] = JSON.parse(beats);
const until = performance.now() + Number(ms);
const statuses: Record<number, number> = {};

async function post(path: string, bearer: string, body: unknown): Promise<void> {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${bearer}` },
    body: JSON.stringify(body),
  });
  await response.body?.cancel();
  statuses[response.status] = (statuses[response.status] ?? 0) + 1;
}

async function dispatching(): Promise<void> {
  while (performance.now() < until) {
    await post("/v1/dispatch", token, { tag: "load", client_pubkey: key });
  }
}

async function beating(): Promise<void> {
  for (let i = 0; performance.now() < until; i++) {
    const node = nodes[i % nodes.length]!;
    await post("/v1/nodes/heartbeat", node.token, { node_id: node.id });
  }
}

await Promise.all([...Array.from({ length: 8 }, dispatching), beating(), beating()]);
// deno-lint-ignore no-console -- what the test reads
console.log(JSON.stringify(statuses));
