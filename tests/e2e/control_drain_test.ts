import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { parseEnrollToken, signEnrollProof } from "../../src/ca/enroll_proof.ts";
import { utf8 } from "../../src/bytes.ts";
import { authorizedLine, generateKey } from "../../src/ssh/key.ts";
import { eventually } from "../fixtures/processes.ts";
import { bootstrapToken, startControl, temporaryHome } from "./control_process.ts";

Deno.test("SIGTERM: what is being asked is answered, what was held is written, nothing new is taken", async () => {
  await using home = await temporaryHome();
  await using control = await startControl({ home: home.path });
  const token = await bootstrapToken(home.path);
  const post = async (path: string, bearer: string | undefined, body: unknown) => {
    const response = await fetch(control.url + path, {
      method: "POST",
      headers: { ...(bearer && { authorization: `Bearer ${bearer}` }), connection: "close" },
      body: JSON.stringify(body),
    });
    return await response.json();
  };
  const made = await post("/v1/enroll-tokens", token, {});
  const key = generateKey();
  const node = await post("/v1/nodes/register", undefined, {
    enroll_token: made.token,
    name: "mini",
    host_pubkey: authorizedLine(key),
    addr: "127.0.0.1:7600",
    os: "linux",
    arch: "amd64",
    proof: signEnrollProof(parseEnrollToken(made.token)!, key),
  });
  const beat = await post("/v1/nodes/heartbeat", node.node_token, { node_id: node.node_id });
  assert.equal(typeof beat.server_time, "number");

  // a call whose body is still on its way when the signal comes
  const { hostname, port } = new URL(control.url);
  using busy = await Deno.connect({ hostname, port: Number(port) });
  const head = `POST /v1/enroll-tokens HTTP/1.1\r\nHost: ${hostname}\r\n` +
    `Authorization: Bearer ${token}\r\nContent-Length: 2\r\n\r\n{`;
  await busy.write(utf8(head));
  using idle = await Deno.connect({ hostname, port: Number(port) });
  await idle.write(utf8(`GET /health HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`));
  await idle.read(new Uint8Array(4096));

  control.kill("SIGTERM");
  await eventually("nobody new is let in", async () => {
    try {
      (await Deno.connect({ hostname, port: Number(port) })).close();
      return false;
    } catch {
      return true;
    }
  });
  assert.equal(await idle.read(new Uint8Array(1)), null, "who only waited is sent away");
  await busy.write(utf8("}"));
  const answer = await new Response(busy.readable).text();
  assert.match(answer, /^HTTP\/1\.1 200 .*"token":"enroll_/s);
  assert.match(answer, /\r\nconnection: close\r\n/i);
  assert.equal((await control.ended).code, 0, control.stderr());

  const database = new DatabaseSync(`${home.path}/control/openbox.db`, { readOnly: true });
  const row = database.prepare("select last_seen_at from nodes").get();
  assert.ok(Math.abs(Number(row?.last_seen_at) - beat.server_time * 1000) < 2000);
  assert.equal(database.prepare("select count(*) as n from enroll_tokens").get()?.n, 2);
  database.close();
});
