import assert from "node:assert/strict";
import { type AddressDeps, findAddress } from "../../../src/agent/address.ts";
import { openDoor } from "../../../src/agent/door.ts";
import { parseServerUrl } from "../../../src/client/server_url.ts";
import { formatAddress, parseAddress } from "../../../src/transport/address.ts";
import { listen } from "../../../src/transport/tcp.ts";

/** What is listened on and what is told, as text. */
async function found(change: {
  server?: string;
  addr?: string;
  advertise?: string;
  /** This machine's end of the connection to the control plane. */
  local?: string;
}): Promise<string | undefined> {
  const address = (text?: string) => text === undefined ? undefined : parseAddress(text, "test");
  const deps: AddressDeps = {
    server: parseServerUrl(change.server ?? "https://box.example.com"),
    addr: address(change.addr),
    advertise: address(change.advertise),
    transport: { advertise: (addr) => Promise.resolve(addr.replace("0.0.0.0", "10.9.9.9")) },
    localAddress: () => Promise.resolve(change.local),
  };
  const place = await findAddress(deps);
  return place && `${formatAddress(place.listen)} ${formatAddress(place.advertise)}`;
}

Deno.test("where an agent listens and what it tells others", async () => {
  const cases: [Parameters<typeof found>[0], string | undefined][] = [
    // the control plane on this machine
    [{ server: "http://127.0.0.1:8080" }, "127.0.0.1:7600 127.0.0.1:7600"],
    [{ server: "http://localhost:8080" }, "127.0.0.1:7600 127.0.0.1:7600"],
    [{ server: "http://[::1]:8080" }, "127.0.0.1:7600 127.0.0.1:7600"],
    // elsewhere: the address by which this machine reaches it
    [{ local: "10.0.0.4" }, "10.0.0.4:7600 10.0.0.4:7600"],
    [{ local: "2001:db8::4" }, "[2001:db8::4]:7600 [2001:db8::4]:7600"],
    [{ local: undefined }, undefined],
    // a name of this machine that leads to loopback
    [{ local: "127.0.0.1" }, "10.9.9.9:7600 10.9.9.9:7600"],
    // said
    [{ addr: "10.0.0.5:7700", local: "10.0.0.4" }, "10.0.0.5:7700 10.0.0.5:7700"],
    [{ addr: "localhost:7700" }, "127.0.0.1:7700 127.0.0.1:7700"],
    [
      { local: "10.0.0.4", advertise: "nat.example.com:2200" },
      "10.0.0.4:7600 nat.example.com:2200",
    ],
    // every address is listened on when said, and never told
    [{ addr: "0.0.0.0:7600", local: "10.0.0.4" }, "0.0.0.0:7600 10.0.0.4:7600"],
    [{ addr: ":7700", local: "10.0.0.4" }, ":7700 10.0.0.4:7700"],
    [{ addr: "0.0.0.0:7600", local: undefined }, "0.0.0.0:7600 10.9.9.9:7600"],
    [{ addr: "0.0.0.0:7600", server: "http://127.0.0.1:8080" }, "0.0.0.0:7600 10.9.9.9:7600"],
    [{ addr: "0.0.0.0:7600", advertise: "10.0.0.6:7600" }, "0.0.0.0:7600 10.0.0.6:7600"],
  ];
  for (const [given, expected] of cases) {
    assert.equal(await found(given), expected, JSON.stringify(given));
  }
});

const at = (host: string, port = 0) => ({ listen: { host, port }, advertise: { host, port } });
const answers = (addr: string) => {
  const [hostname, port] = addr.split(":");
  return Deno.connect({ hostname, port: Number(port) }).then((conn) => {
    conn.close();
    return true;
  }, () => false);
};

Deno.test("the door moves with the machine's address, and stays where the new one cannot be had", async () => {
  let place: ReturnType<typeof at> | undefined = at("127.0.0.1");
  await using door = await openDoor({
    transport: { listen },
    find: () => Promise.resolve(place),
    otherwise: at("127.0.0.9"),
    onConn: (conn) => void conn.on("error", () => {}).destroy(),
  });
  const first = door.addr;
  assert.match(first, /^127\.0\.0\.1:[1-9]/);
  assert.equal(await door.look(), first, "the port is told that the system chose");

  place = at("127.0.0.2");
  const second = await door.look();
  assert.match(second, /^127\.0\.0\.2:/);
  assert.deepEqual([await answers(first), await answers(second)], [false, true]);

  place = at("192.0.2.1"); // an address of no machine
  assert.equal(await door.look(), second);
  place = undefined;
  assert.equal(await door.look(), second);
  assert.ok(await answers(second));
});

Deno.test("an address that is taken is a conflict, and says the way out", async () => {
  await using taken = await listen("127.0.0.1:0", () => {});
  const { host, port } = parseAddress(taken.addr, "test");
  const open = (host: string, port: number) =>
    openDoor({
      transport: { listen },
      find: () => Promise.resolve(undefined),
      otherwise: at(host, port),
      onConn: () => {},
    });
  await assert.rejects(open(host, port), { code: "conflict", hint: /--addr/ });
  await assert.rejects(open("192.0.2.1", 7600), {
    code: "bad_setting",
    message: /192\.0\.2\.1:7600/,
  });
});
