import assert from "node:assert/strict";
import { parseEnrollToken, signEnrollProof } from "../../src/ca/enroll_proof.ts";
import { formatCaKeys, generateCaKeys } from "../../src/ca/keys.ts";
import { newUserToken } from "../../src/ids.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { parseCertificate, parseCertificateLine } from "../../src/ssh/certificate.ts";
import { requireComponent } from "../fixtures/component.ts";
import { freePort } from "../fixtures/port.ts";
import { sharedPostgres } from "../fixtures/postgres.ts";
import { eventually } from "../fixtures/processes.ts";
import { type ControlProcess, startControl } from "./control_process.ts";

const present = requireComponent("initdb", "postgres");
const server = present.ignore ? undefined : sharedPostgres();
const KEY = authorizedLine(generateKey());

// deno-lint-ignore no-explicit-any -- a test reads what it expects
type Reply = { readonly status: number; readonly body: any };

/** Undefined where the control plane was killed before it had answered. */
async function ask(
  port: number,
  method: string,
  path: string,
  token?: string,
  body?: unknown,
): Promise<Reply | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { connection: "close", ...(token && { authorization: `Bearer ${token}` }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text && JSON.parse(text) };
  } catch {
    return undefined;
  }
}

interface Pair extends AsyncDisposable {
  readonly ports: readonly [number, number];
  readonly token: string;
  readonly database: string;
  readonly controls: [ControlProcess, ControlProcess];
  start(i: 0 | 1): Promise<ControlProcess>;
}

/** Two control planes on one new database, started at once. */
async function startPair(
  ca: Readonly<Record<string, string>> = {
    OPENBOX_CA_KEY: formatCaKeys(generateCaKeys()).reveal(),
  },
): Promise<Pair> {
  const database = await server!().newDatabase(), token = newUserToken();
  const ports = [freePort(), freePort()] as const;
  const root = await Deno.makeTempDir();
  const env = {
    OPENBOX_DB: server!().dsn(database),
    ...ca,
    OPENBOX_BOOTSTRAP_TOKEN: token,
  };
  const start = (i: 0 | 1) =>
    startControl({ home: `${root}/${i}`, env: { ...env, OPENBOX_ADDR: `127.0.0.1:${ports[i]}` } });
  const controls = await Promise.all([start(0), start(1)]) as [ControlProcess, ControlProcess];
  return {
    ports,
    token,
    database,
    controls,
    start,
    async [Symbol.asyncDispose]() {
      for (const control of controls) await control[Symbol.asyncDispose]();
      await Deno.remove(root, { recursive: true });
    },
  };
}

async function register(port: number, token: string, enrollToken?: string) {
  const made = enrollToken ??
    (await ask(port, "POST", "/v1/enroll-tokens", token, { tags: ["t"] }))?.body.token;
  const key = generateKey();
  return await ask(port, "POST", "/v1/nodes/register", undefined, {
    enroll_token: made,
    name: "mini",
    host_pubkey: authorizedLine(key),
    addr: "127.0.0.1:7600",
    os: "linux",
    arch: "amd64",
    proof: signEnrollProof(parseEnrollToken(made)!, key),
  });
}

Deno.test(
  "STO-15 ENR-1: two control planes started at once are one: one first user, one winner, one list",
  present,
  async () => {
    await using pair = await startPair();
    const [a, b] = pair.ports, { token } = pair;
    const users = await server!().query("select count(*) from users", pair.database);
    assert.equal(users, "1");
    const made = await ask(a, "POST", "/v1/enroll-tokens", token, { tags: ["t"] });
    const tries = await Promise.all(
      Array.from({ length: 20 }, (_, i) => register(i % 2 ? a : b, token, made!.body.token)),
    );
    assert.deepEqual(
      tries.map((reply) => reply!.status).sort(),
      [201, ...Array(19).fill(401)],
    );
    const { node_id: id, node_token: nodeToken } =
      tries.find((reply) => reply!.status === 201)!.body;
    // heard by one, shown by the other
    assert.equal(
      (await ask(a, "POST", "/v1/nodes/heartbeat", nodeToken, { node_id: id }))!.status,
      200,
    );
    await eventually(
      "the other knows that it is online",
      async () => (await ask(b, "GET", "/v1/nodes", token))!.body.nodes[0].online === true,
      10_000,
    );
    const dispatches = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        ask(i % 2 ? a : b, "POST", "/v1/dispatch", token, {
          tag: "t",
          client_pubkey: KEY,
          session_id: "build",
        })),
    );
    for (const reply of dispatches) assert.equal(reply!.status, 200, JSON.stringify(reply));
    const serials = dispatches.map((reply) =>
      parseCertificate(parseCertificateLine(reply!.body.user_cert)).serial
    );
    assert.equal(new Set(serials).size, serials.length);
  },
);

Deno.test(
  "ROT-3: two control planes on one Postgres make one CA under their passphrase, and each knows what the other did to it",
  present,
  async () => {
    await using pair = await startPair({ OPENBOX_CA_PASSPHRASE: "five words nobody would guess" });
    const { token, ports: [a, b] } = pair;
    const named = async (port: number) => {
      const { body } = (await ask(port, "GET", "/v1/whoami", token))!;
      return `${body.host_ca_pubkey} ${body.user_ca_pubkey}`;
    };
    const first = await named(a);
    assert.equal(await named(b), first);
    const rotate = (port: number, step: string) =>
      ask(port, "POST", "/v1/ca/rotate", token, { step });
    assert.equal((await rotate(a, "init"))?.status, 200);
    // of two at once one takes the step, and the other one hears that it came late
    const both = await Promise.all([rotate(a, "update"), rotate(b, "update")]);
    assert.deepEqual(both.map((reply) => reply?.status).sort(), [200, 409]);
    assert.equal((await rotate(b, "finish"))?.status, 200);
    const last = await named(a);
    assert.notEqual(last, first);
    assert.equal(await named(b), last);
    assert.equal((await register(a, token))?.status, 201, "with a key that the other one made");
    const kept = await server!().query("select text from ca_store", pair.database);
    assert.doesNotMatch(kept, /PRIVATE KEY/);
  },
);

Deno.test(
  "KIL-6: one of two control planes killed again and again: what was acknowledged stays, the other serves",
  present,
  async () => {
    await using pair = await startPair();
    const { token, ports } = pair;
    const acknowledged: string[] = [], slow: number[] = [];
    let ending = false;
    const work = async (i: number) => {
      for (let n = 0; !ending; n++) {
        const started = performance.now();
        const reply = await register(ports[(i + n) % 2]!, token).catch(() => undefined);
        slow.push(performance.now() - started);
        if (reply?.status === 201) acknowledged.push(reply.body.node_id);
        else if (reply) assert.equal(reply.status, 503);
        else await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const working = Promise.all(Array.from({ length: 6 }, (_, i) => work(i)));
    for (let round = 0; round < 4; round++) {
      const i = round % 2 as 0 | 1, before = acknowledged.length;
      pair.controls[i].kill("SIGKILL");
      await pair.controls[i][Symbol.asyncDispose]();
      await eventually("the other serves", () => acknowledged.length > before + 5, 10_000);
      pair.controls[i] = await pair.start(i);
    }
    ending = true;
    await working;
    const { body } = (await ask(ports[0], "GET", "/v1/nodes", token))!;
    const there = new Set(body.nodes.map(({ id }: { id: string }) => id));
    for (const id of acknowledged) assert.ok(there.has(id), "acknowledged, and lost");
    const spent = await server!().query(
      "select count(*) from enroll_tokens where used_by is not null",
      pair.database,
    );
    assert.equal(Number(spent), there.size, "each spent token made one node");
    assert.ok(Math.max(...slow) < 7500, `two calls in a row took ${Math.max(...slow)} ms`);
  },
);

Deno.test(
  "a control plane that stands still in a transaction holds up the other for seconds at most",
  present,
  async () => {
    await using pair = await startPair();
    const [a, b] = pair.ports, { token } = pair;
    let ending = false;
    const load = Promise.all(Array.from({ length: 8 }, async () => {
      while (!ending) await ask(a, "POST", "/v1/enroll-tokens", token, {});
    }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    pair.controls[0].kill("SIGSTOP");
    try {
      await eventually(
        "the other takes writes",
        async () => (await ask(b, "POST", "/v1/enroll-tokens", token, {}))?.status === 200,
        10_000,
      );
    } finally {
      ending = true;
      pair.controls[0].kill("SIGCONT");
    }
    await load;
    await eventually(
      "it goes on itself",
      async () => (await ask(a, "POST", "/v1/enroll-tokens", token, {}))?.status === 200,
    );
  },
);
