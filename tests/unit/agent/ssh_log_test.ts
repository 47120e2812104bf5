import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createSshLog } from "../../../src/agent/ssh_log.ts";
import { DISCONNECT, MESSAGE } from "../../../src/ssh/messages.ts";
import { str, u32 } from "../../../src/ssh/wire.ts";
import { askService, connectRaw } from "../../fixtures/raw_ssh.ts";
import { createIdentities, serveSsh } from "../../fixtures/ssh.ts";

/** SSH_MSG_DISCONNECT */
const GOODBYE = 1;

type Line = Record<string, unknown> & { event: string };

/** A log whose lines are kept, and whose clock the test moves. */
function keptLog() {
  const lines: Line[] = [], debug: Line[] = [], clock = { now: 0 };
  const keep = (list: Line[]) => (event: string, fields: Record<string, unknown>) =>
    void list.push({ event, ...fields });
  const log = createSshLog({ debug: keep(debug), info: keep(lines) }, () => clock.now);
  return { log, lines, debug, clock };
}

Deno.test("RES-2: peers that fail to authenticate write little into the log, however much they send", async () => {
  const ids = createIdentities(), { log, lines } = keptLog();
  await using server = await serveSsh(ids, () => Promise.resolve(), { log });
  const noise = "\x01".repeat(34_000);
  await Promise.all(Array.from({ length: 20 }, async () => {
    await using peer = await connectRaw(server.port);
    askService(peer);
    await peer.next();
    for (let i = 0; i < 3; i++) {
      peer.send(MESSAGE.USERAUTH_REQUEST, str("me"), str("ssh-connection"), str(noise));
      assert.equal((await peer.next())?.[0], MESSAGE.USERAUTH_FAILURE);
    }
    peer.send(GOODBYE, u32(DISCONNECT.PROTOCOL_ERROR), str("\x02".repeat(20_000)), str(""));
    await peer.closed;
  }));
  assert.deepEqual(lines.map(({ event }) => event), ["refused", "connection ended"]);
  assert.ok(JSON.stringify(lines).length < 2_000, JSON.stringify(lines));
});

Deno.test("RES-2: the key type that a peer names is cut in the log", async () => {
  const ids = createIdentities(), { log, lines } = keptLog();
  await using server = await serveSsh(ids, () => Promise.resolve(), { log });
  await using peer = await connectRaw(server.port);
  askService(peer);
  await peer.next();
  const fields = [str("me"), str("ssh-connection"), str("publickey"), Buffer.from([1])];
  peer.send(MESSAGE.USERAUTH_REQUEST, ...fields, str("x".repeat(34_000)), str(""));
  await peer.next();
  assert.equal(lines[0]!.reason, `key type ${"x".repeat(64)}…`);
});

Deno.test("of one kind a source gets a line in a while, and the next one counts what came between", () => {
  const { log, lines, clock } = keptLog();
  const tell = (event: string, peer: string, times: number) => {
    for (let i = 0; i < times; i++) log(event, { peer });
  };
  tell("turned away", "10.0.0.1", 500);
  tell("not authenticated in time", "10.0.0.1", 500);
  tell("turned away", "10.0.0.2", 1);
  tell("turned away", "2001:db8::1", 1);
  tell("turned away", "2001:db8::2", 1); // of the same network
  assert.deepEqual(lines.splice(0), [
    { event: "turned away", peer: "10.0.0.1" },
    { event: "not authenticated in time", peer: "10.0.0.1" },
    { event: "turned away", peer: "10.0.0.2" },
    { event: "turned away", peer: "2001:db8::1" },
  ]);
  clock.now = 60_000;
  tell("turned away", "10.0.0.1", 2);
  tell("turned away", "10.0.0.2", 1);
  assert.deepEqual(lines, [
    { event: "turned away", peer: "10.0.0.1", unshown: 499 },
    { event: "turned away", peer: "10.0.0.2" },
  ]);
});

Deno.test("a crowd of sources gets no line each, and is forgotten when it is gone", () => {
  const { log, lines, clock } = keptLog();
  for (let i = 0; i < 20_000; i++) log("refused", { peer: `10.0.${i >> 8}.${i & 255}` });
  assert.equal(lines.length, 1025);
  clock.now = 60_000;
  lines.length = 0;
  log("refused", { peer: "10.9.9.9" });
  assert.deepEqual(lines, [{ event: "refused", peer: "10.9.9.9" }]);
});

Deno.test("every connection that ends in good order is for debugging, none is left out", () => {
  const { log, lines, debug } = keptLog();
  for (let i = 0; i < 3; i++) log("connection ended", { peer: "10.0.0.1", phase: "open" });
  assert.deepEqual([lines.length, debug.length], [0, 3]);
});
