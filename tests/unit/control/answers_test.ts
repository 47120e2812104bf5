import assert from "node:assert/strict";
import { answers } from "../../../src/control/answers.ts";
import { listen } from "../../../src/control/http_server.ts";
import { parseListenAddress } from "../../../src/control/listen_address.ts";
import { readTlsPair } from "../../../src/control/tls_pair.ts";

const FIXTURES = new URL("../../fixtures/", import.meta.url).pathname;
const TLS = { cert: `${FIXTURES}tls.crt`, key: `${FIXTURES}tls.key` };
const signal = AbortSignal.timeout(60_000);
/** Long enough for what answers. */
const soon = () => AbortSignal.timeout(300);

for (const tls of [undefined, TLS]) {
  Deno.test(`a control plane with ${tls ? "HTTPS" : "HTTP"} answers at its own port, and one that hangs does not`, async () => {
    let hangs = false;
    const answer = () =>
      hangs ? new Promise<Response>(() => {}) : new Response("no", { status: 503 });
    await using server = await listen({ fetch: answer }, {
      address: parseListenAddress(":0", "test"),
      tls: tls && await readTlsPair(tls),
      limits: { drainTimeout: 10 },
    });
    const address = { host: server.address.address, port: server.address.port };
    const own = { address, tls: tls !== undefined };
    await answers(own, { signal });
    hangs = true;
    await assert.rejects(answers(own, { signal: soon() }));
  });
}

Deno.test("a control plane that takes no more connections is alive, one that listens no more is not", async () => {
  const address = { host: "127.0.0.1", port: 0 };
  {
    await using server = await listen({ fetch: () => new Response("ok") }, {
      address: parseListenAddress("127.0.0.1:0", "test"),
      limits: { maxConnections: 1, drainTimeout: 10 },
    });
    address.port = server.address.port;
    using _only = await Deno.connect({ port: address.port });
    await answers({ address, tls: false }, { signal });
  }
  await assert.rejects(answers({ address, tls: false }, { signal }), /REFUSED/);
});
