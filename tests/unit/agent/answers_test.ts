import assert from "node:assert/strict";
import { answers } from "../../../src/agent/answers.ts";
import { tcpTransport } from "../../../src/transport/tcp.ts";
import type { Conn } from "../../../src/transport/transport.ts";

const signal = AbortSignal.timeout(60_000);

/** Whether an agent that does `onConn` with who comes is taken for alive. */
async function isAlive(onConn: (conn: Conn) => void): Promise<boolean> {
  const conns: Conn[] = [];
  await using listener = await tcpTransport.listen("127.0.0.1:0", (conn) => {
    conns.push(conn);
    onConn(conn);
  });
  try {
    const own = { addr: listener.addr, transport: tcpTransport };
    await answers(own, { signal: AbortSignal.timeout(300) });
    return true;
  } catch {
    return false;
  } finally {
    for (const conn of conns) conn.destroy();
  }
}

Deno.test("an agent that says something is alive, or turns the caller away; one that is silent is not", async () => {
  assert.equal(await isAlive((conn) => void conn.write("SSH-2.0-OpenSSH_openbox\r\n")), true);
  assert.equal(await isAlive((conn) => void conn.destroy()), true);
  assert.equal(await isAlive(() => {}), false);
});

Deno.test("an agent that listens no more is not alive", async () => {
  const listener = await tcpTransport.listen("127.0.0.1:0", () => {});
  await listener[Symbol.asyncDispose]();
  await assert.rejects(
    answers({ addr: listener.addr, transport: tcpTransport }, { signal }),
    /REFUSED/,
  );
});
