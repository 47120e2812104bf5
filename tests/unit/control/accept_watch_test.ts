import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { watchAccepting } from "../../../src/control/accept_watch.ts";
import { eventually } from "../../fixtures/processes.ts";

const EVERY_MS = 100;

async function world(connections: number) {
  const server = createServer((_, outgoing) => outgoing.end("ok"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  let again = 0;
  const watch = watchAccepting(server, {
    everyMs: EVERY_MS,
    listenAgain: () => {
      again++;
      server.listen(port, "127.0.0.1");
    },
  });
  const held: Deno.Conn[] = [];
  for (let i = 0; i < connections; i++) {
    held.push(await Deno.connect({ hostname: "127.0.0.1", port }));
  }
  await eventually("all are accepted", () => accepted(server, connections));
  return {
    server,
    port,
    again: () => again,
    async [Symbol.asyncDispose]() {
      watch[Symbol.dispose]();
      for (const connection of held) connection.close();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}

const accepted = (server: Server, count: number) =>
  new Promise<boolean>((resolve) => server.getConnections((_, open) => resolve(open === count)));
const rounds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * EVERY_MS));

Deno.test("a listener that accepts is left alone, however long nobody comes", async () => {
  await using it = await world(40);
  await rounds(5);
  assert.equal(it.again(), 0);
});

Deno.test("few connections are no reason to look", async () => {
  await using it = await world(3);
  let knocks = 0;
  it.server.on("connection", () => knocks++);
  await rounds(5);
  assert.equal(knocks, 0);
});

Deno.test("one that is full is not taken for dead", async () => {
  await using it = await world(40);
  it.server.maxConnections = 40;
  await rounds(5);
  assert.equal(it.again(), 0);
});

Deno.test("one that accepts no more is opened anew, and its connections live on", async () => {
  await using it = await world(40);
  // deaf as node:net's is without descriptors: connections are made, and nobody hears of them
  const emit: (event: string, ...args: unknown[]) => boolean = it.server.emit.bind(it.server);
  Object.defineProperty(it.server, "emit", {
    configurable: true,
    value(event: string, ...args: unknown[]) {
      if (event !== "connection") return emit(event, ...args);
      return (args[0] as Socket).destroy();
    },
  });
  await eventually("it listens anew", () => it.again() > 0);
  Reflect.deleteProperty(it.server, "emit");
  await eventually(
    "it answers",
    () =>
      fetch(`http://127.0.0.1:${it.port}/`, { headers: { connection: "close" } })
        .then(async (response) => await response.text() === "ok", () => false),
  );
});
