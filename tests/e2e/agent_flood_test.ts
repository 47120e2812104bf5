/** RES-4: an agent under hundreds of connections, some of which only ever push and never read. */
import assert from "node:assert/strict";
import { utf8 } from "../../src/bytes.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { parseCertificate, parseCertificateLine } from "../../src/ssh/certificate.ts";
import { connectSsh, type SshConnection } from "../../src/ssh/client.ts";
import { dial } from "../../src/transport/dial.ts";
import { type Fleet, startFleet } from "../fixtures/fleet.ts";
import { readAll } from "../fixtures/ssh.ts";

const MIB = 2 ** 20;
const SERVED = { code: 0, stdout: utf8("served\n"), out: "served\n", err: "" };

/** Connects again and again with one certificate. */
async function connector(fleet: Fleet): Promise<() => Promise<SshConnection>> {
  const key = generateKey();
  const answer = await (await fetch(`${fleet.url}/v1/dispatch`, {
    method: "POST",
    headers: { authorization: `Bearer ${fleet.token}`, "content-type": "application/json" },
    body: JSON.stringify({ tag: "box", client_pubkey: authorizedLine(key) }),
  })).json();
  const certificate = parseCertificateLine(answer.user_cert), { signal } = new AbortController();
  return async () =>
    await connectSsh({
      socket: await dial(answer.addr, { signal }),
      username: answer.principal,
      key,
      certificate,
      verifyHost: (blob) => parseCertificate(blob).key,
      signal,
    });
}

async function residentBytes(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("ps", { args: ["-o", "rss=", "-p", `${pid}`] })
    .output();
  return Number(new TextDecoder().decode(stdout)) * 1024;
}

Deno.test("SSH-1, SSH-12: a run starts at once while more silent connections come than the agent may hold", async () => {
  const wrapper = ["/bin/sh", "-c", 'ulimit -n 512 && exec "$0" "$@"'];
  await using fleet = await startFleet({ agents: [{ name: "box", tags: ["box"], wrapper }] });
  const { nodes: [node] } = JSON.parse((await fleet.call(["nodes", "--json"])).out);
  const [hostname, port] = node.addr.split(":");
  using silent = new DisposableStack();
  for (let i = 0; i < 700; i++) {
    silent.use(await Deno.connect({ hostname, port: Number(port) }));
  }
  const from = performance.now();
  assert.deepEqual(await fleet.call(["-t", "box", "echo", "served"]), SERVED);
  assert.ok(performance.now() - from < 5_000, `${performance.now() - from} ms`);
  assert.doesNotMatch(fleet.agents[0]!.log(), /could not be accepted/);
});

Deno.test("RES-4: 500 connections and 20 floods leave the agent below 256 MiB, and it serves", async () => {
  await using fleet = await startFleet();
  await using stack = new AsyncDisposableStack();
  const connect = await connector(fleet);
  for (let i = 0; i < 500; i++) stack.use(await connect());
  const flood = new Uint8Array(65_536);
  for (let i = 0; i < 20; i++) {
    const connection = stack.use(await connect());
    await connection.openExec("yes"); // whose output nobody reads
    const deaf = await connection.openExec("sleep 300");
    void (async () => {
      while (await deaf.write(flood));
    })();
  }
  for (let second = 0; second < 5; second++) {
    await using connection = await connect();
    const start = performance.now();
    await using channel = await connection.openExec("echo served");
    channel.endInput();
    const [out] = await Promise.all([readAll(channel.stdout), readAll(channel.stderr)]);
    assert.equal(new TextDecoder().decode(out), "served\n");
    assert.ok(performance.now() - start < 5_000);
    const bytes = await residentBytes(fleet.agents[0]!.pid);
    assert.ok(bytes > 0 && bytes < 256 * MIB, `${bytes / MIB} MiB`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
});
