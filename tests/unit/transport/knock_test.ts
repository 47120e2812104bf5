import assert from "node:assert/strict";
import { knock, ownDoors } from "../../../src/transport/knock.ts";

const signal = AbortSignal.timeout(60_000);
const door = { host: "127.0.0.1", port: 7600 };
const failing = (code: string) => () =>
  Promise.reject(Object.assign(new Error(`connect ${code}`), { code }));

Deno.test("a listener on every address is asked at loopback, one that moved away is not asked", () => {
  assert.deepEqual(ownDoors({ host: "0.0.0.0", port: 1 }).map(({ host }) => host), [
    "127.0.0.1",
    "::1",
  ]);
  assert.deepEqual(ownDoors({ host: "127.0.0.5", port: 1 }), [{ host: "127.0.0.5", port: 1 }]);
  assert.deepEqual(ownDoors({ host: "localhost", port: 1 }), [{ host: "localhost", port: 1 }]);
  // TEST-NET-1: no machine has it
  assert.deepEqual(ownDoors({ host: "192.0.2.7", port: 1 }), []);
});

Deno.test("only a refusal and silence count as no answer", async () => {
  await knock([door], () => Promise.resolve(), { signal });
  await knock([door], failing("ECONNRESET"), { signal });
  await knock([door], failing("EMFILE"), { signal });
  await knock([], failing("ECONNREFUSED"), { signal });
  await assert.rejects(knock([door], failing("ECONNREFUSED"), { signal }), /REFUSED/);
  const silent = AbortSignal.timeout(10);
  await assert.rejects(
    knock(
      [door, door],
      (_, { signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      { signal: silent },
    ),
    /timeout/,
  );
});

Deno.test("one door that answers is enough, and none that cannot be there hides a refusal", async () => {
  const both = [door, { host: "::1", port: 7600 }];
  await knock(both, ({ host }) => host === "::1" ? Promise.resolve() : failing("ECONNREFUSED")(), {
    signal,
  });
  const ask = ({ host }: { host: string }) =>
    failing(host === "::1" ? "EADDRNOTAVAIL" : "ECONNREFUSED")();
  await assert.rejects(knock(both, ask, { signal }), /REFUSED/);
});
