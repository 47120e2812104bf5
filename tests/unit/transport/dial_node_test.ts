import assert from "node:assert/strict";
import type { LookupAddress, LookupOptions } from "node:dns";
import { type AddressInfo, createServer } from "node:net";
import type { OpenboxError } from "../../../src/errors.ts";
import { dialNode, judgingLookup } from "../../../src/transport/dial_node.ts";

type Resolver = Parameters<typeof judgingLookup>[0];

/** What a lookup of `name` gives where the DNS says `addresses`. */
function look(name: string, addresses: readonly string[], all = true): Promise<unknown> {
  const answer = addresses.map((address): LookupAddress => ({
    address,
    family: address.includes(":") ? 6 : 4,
  }));
  const resolver = ((
    _: string,
    _options: LookupOptions,
    done: (error: Error | null, found: LookupAddress[]) => void,
  ) => done(null, answer)) as unknown as Resolver;
  return new Promise((resolve, reject) =>
    judgingLookup(resolver)(
      name,
      { all },
      (error, found) => error ? reject(error) : resolve(found),
    )
  );
}

const refuses = (work: Promise<unknown>) =>
  assert.rejects(work, (error: OpenboxError) => {
    assert.equal(error.code, "node_unreachable");
    assert.match(error.message, /leads to/);
    return true;
  });

Deno.test("ENR-10: a node's name that leads to this machine, or to a cloud's metadata, is not dialled", async () => {
  for (
    const address of [
      ...["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"],
      ...["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"],
      ...["224.0.0.1", "fe80::1"],
    ]
  ) {
    await refuses(look("rebound.example.com", [address]));
  }
  await refuses(look("rebound.example.com", ["127.0.0.1", "169.254.169.254"]));
  for (const name of ["metadata-alias", "mini.local"]) {
    await refuses(look(name, ["169.254.169.254"]));
  }
});

Deno.test("of several addresses those that a node may have are dialled", async () => {
  assert.deepEqual(await look("mini.local", ["fe80::1", "10.0.0.4", "127.0.0.1", "2001:db8::1"]), [
    { address: "10.0.0.4", family: 4 },
    { address: "2001:db8::1", family: 6 },
  ]);
  assert.equal(await look("mini.example.com", ["127.0.0.1", "10.0.0.4"], false), "10.0.0.4");
});

Deno.test("names of this machine itself may lead to it", async () => {
  for (const name of ["mybox", "localhost", "a.localhost"]) {
    assert.deepEqual(await look(name, ["127.0.1.1"]), [{ address: "127.0.1.1", family: 4 }]);
  }
});

Deno.test("an address is dialled as it stands, where a node may have it", async () => {
  const { signal } = new AbortController();
  await using stack = new AsyncDisposableStack();
  const server = createServer((socket) => socket.on("error", () => {}));
  stack.defer(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  for (const host of ["127.0.0.1", "localhost"]) {
    const socket = await dialNode(`${host}:${port}`, { signal });
    assert.equal(socket.remotePort, port);
    socket.destroy();
  }
  for (const host of ["169.254.169.254", "0.0.0.0", "[::]", "[fe80::1]"]) {
    await refuses(dialNode(`${host}:${port}`, { signal }));
  }
});
