import assert from "node:assert/strict";
import type { LookupFunction } from "node:net";
import { dial } from "../../../src/transport/dial.ts";
import { parseAddress } from "../../../src/transport/address.ts";
import { listen } from "../../../src/transport/tcp.ts";

const never = new AbortController().signal;

Deno.test("NET-9: a name that nobody knows is told as that", async () => {
  await assert.rejects(dial("nowhere.invalid:7600", { signal: never }), { code: "ENOTFOUND" });
});

Deno.test("NET-9: a DNS that does not answer is waited for no longer than the caller wants", async () => {
  const asked = Promise.withResolvers<void>();
  const silent: LookupFunction = () => asked.resolve();
  const caller = new AbortController();
  const dialling = dial("slow.example:7600", { signal: caller.signal, lookup: silent });
  await asked.promise;
  caller.abort(new Error("enough"));
  await assert.rejects(dialling, /enough/);
});

Deno.test("NET-9: each dial asks for the name anew: an address that changed is found", async () => {
  await using listener = await listen("127.0.0.1:0", (conn) => void conn.destroy());
  const { port } = parseAddress(listener.addr, "the listener");
  let known = false;
  const lookup: LookupFunction = (name, { all }, done) => {
    if (!known) return done(Object.assign(new Error(name), { code: "EAI_AGAIN" }), []);
    return all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
  };
  const dialAgain = () => dial(`moving.example:${port}`, { signal: never, lookup });
  await assert.rejects(dialAgain(), { code: "EAI_AGAIN" });
  known = true;
  const socket = await dialAgain();
  await new Promise((resolve) => socket.once("close", resolve).resume());
});
