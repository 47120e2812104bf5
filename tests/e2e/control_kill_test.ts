import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { parseEnrollToken, signEnrollProof } from "../../src/ca/enroll_proof.ts";
import { parseCertificate, parseCertificateLine } from "../../src/ssh/certificate.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { freePort } from "../fixtures/port.ts";
import { eventually } from "../fixtures/processes.ts";
import {
  bootstrapToken,
  type ControlProcess,
  startControl,
  temporaryHome,
} from "./control_process.ts";

const KEY = generateKey();

/** What was acknowledged, and so must be there whatever happens. */
interface Acknowledged {
  /** Node id → the newest name that was acknowledged, and one that was only asked for. */
  readonly nodes: Map<string, { name: string; asked?: string; token: string }>;
  readonly deleted: { readonly id: string; readonly token: string }[];
  readonly unspent: Set<string>;
  readonly spent: string[];
  readonly serials: bigint[];
}

// deno-lint-ignore no-explicit-any -- a test reads what it expects
type Reply = { readonly status: number; readonly body: any };

Deno.test("STO-1: kill -9 under load loses nothing that was acknowledged, and it answers again", async () => {
  await using home = await temporaryHome();
  const env = { OPENBOX_ADDR: `127.0.0.1:${freePort()}` };
  const acknowledged: Acknowledged = {
    nodes: new Map(),
    deleted: [],
    unspent: new Set(),
    spent: [],
    serials: [],
  };
  const restarts: number[] = [];
  let token = "", control: ControlProcess | undefined;
  try {
    for (let round = 0; round < 6; round++) {
      const started = performance.now();
      control = await startControl({ home: home.path, env });
      const { url } = control;
      await eventually(
        "health",
        () => ask(url, "GET", "/health").then(({ status }) => status === 200, () => false),
      );
      restarts.push(performance.now() - started);
      token ||= await bootstrapToken(home.path);
      await verify(url, token, acknowledged);
      const before = acknowledged.serials.length + acknowledged.nodes.size;
      const loads = Array.from({ length: 6 }, () => load(url, token, acknowledged));
      await new Promise((resolve) => setTimeout(resolve, 300 + Math.random() * 400));
      control.kill("SIGKILL");
      await Promise.all(loads);
      assert.ok(acknowledged.serials.length + acknowledged.nodes.size > before, "there was load");
      await control[Symbol.asyncDispose]();
      control = undefined;
    }
  } finally {
    await control?.[Symbol.asyncDispose]();
  }
  // the fastest counts: other tests have the machine too
  assert.ok(Math.min(...restarts) < 1000, `answered after ${restarts.map(Math.round)} ms`);
  assert.equal(new Set(acknowledged.serials).size, acknowledged.serials.length);
  const database = new DatabaseSync(`${home.path}/control/openbox.db`);
  assert.deepEqual({ ...database.prepare("pragma integrity_check").get() }, {
    integrity_check: "ok",
  });
  const used = database.prepare("select count(*) as n from enroll_tokens where used_by is not null")
    .get();
  const nodes = database.prepare("select count(*) as n from nodes").get();
  assert.equal(used?.n, nodes?.n, "each spent token made one node");
  database.close();
});

async function ask(
  url: string,
  method: string,
  path: string,
  token?: string,
  body?: unknown,
): Promise<Reply> {
  const response = await fetch(url + path, {
    method,
    headers: token ? { authorization: `Bearer ${token}` } : {},
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text && JSON.parse(text) };
}

/** Works until the control plane is gone, and notes each answer that came whole. */
async function load(
  url: string,
  token: string,
  { nodes, deleted, unspent, spent, serials }: Acknowledged,
) {
  try {
    for (let i = 0;; i++) {
      const made = await ask(url, "POST", "/v1/enroll-tokens", token, { tags: ["load"] });
      if (i % 4 === 3) {
        unspent.add(made.body.token);
        continue;
      }
      const key = generateKey(), enroll = parseEnrollToken(made.body.token)!;
      const joined = await ask(url, "POST", "/v1/nodes/register", undefined, {
        enroll_token: made.body.token,
        name: "fresh",
        host_pubkey: authorizedLine(key),
        addr: "127.0.0.1:7600",
        os: "linux",
        arch: "amd64",
        proof: signEnrollProof(enroll, key),
      });
      assert.equal(joined.status, 201);
      const id: string = joined.body.node_id,
        node = { name: "fresh", token: joined.body.node_token };
      nodes.set(id, node);
      spent.push(made.body.token);
      await ask(url, "POST", "/v1/nodes/heartbeat", node.token, { node_id: id });
      const name = `renamed-${i}`;
      nodes.set(id, { ...node, asked: name });
      await ask(url, "PATCH", `/v1/nodes/${id}`, token, { name });
      nodes.set(id, { ...node, name });
      const call = { node_id: id, client_pubkey: authorizedLine(KEY) };
      const { body } = await ask(url, "POST", "/v1/dispatch", token, call);
      serials.push(parseCertificate(parseCertificateLine(body.user_cert)).serial);
      if (i % 5 === 4) {
        nodes.delete(id);
        await ask(url, "DELETE", `/v1/nodes/${id}`, token);
        deleted.push({ id, token: node.token });
      }
    }
  } catch (error) {
    // the connection went with the process
    if (!(error instanceof TypeError) && !(error instanceof SyntaxError)) throw error;
  }
}

async function verify(url: string, token: string, acknowledged: Acknowledged): Promise<void> {
  const { nodes, deleted, unspent, spent } = acknowledged;
  const listed = await ask(url, "GET", "/v1/nodes", token);
  const names = new Map<string, string>(
    listed.body.nodes.map(({ id, name }: { id: string; name: string }) => [id, name]),
  );
  for (const [id, { name, asked }] of nodes) {
    assert.ok([name, asked].includes(names.get(id)), `${id} is ${names.get(id)}, not ${name}`);
  }
  for (const { id, token: nodeToken } of deleted) {
    assert.ok(!names.has(id), `${id} was deleted`);
    const beat = await ask(url, "POST", "/v1/nodes/heartbeat", nodeToken, { node_id: id });
    assert.equal(beat.status, 410);
  }
  const [alive] = [...nodes];
  if (alive) {
    const [id, node] = alive;
    const beat = await ask(url, "POST", "/v1/nodes/heartbeat", node.token, { node_id: id });
    assert.equal(beat.status, 200);
  }
  const register = (enrollToken: string) => {
    const key = generateKey();
    return ask(url, "POST", "/v1/nodes/register", undefined, {
      enroll_token: enrollToken,
      name: "later",
      host_pubkey: authorizedLine(key),
      addr: "127.0.0.1:7600",
      os: "linux",
      arch: "amd64",
      proof: signEnrollProof(parseEnrollToken(enrollToken)!, key),
    });
  };
  for (const enrollToken of spent.splice(0)) {
    assert.equal((await register(enrollToken)).body.code, "enroll_token_used");
  }
  for (const enrollToken of unspent) {
    assert.equal((await register(enrollToken)).status, 201, "an acknowledged token is good");
    unspent.delete(enrollToken);
  }
}
