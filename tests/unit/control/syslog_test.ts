import assert from "node:assert/strict";
import { formatSyslog, parseSyslogAddress, sendSyslog } from "../../../src/control/syslog.ts";
import { text, utf8 } from "../../../src/bytes.ts";

Deno.test("a syslog is named by its protocol, host and port", () => {
  const parse = (text: string) => parseSyslogAddress(text, "--audit-syslog");
  assert.deepEqual(parse("tcp://log.example.com"), {
    protocol: "tcp",
    host: "log.example.com",
    port: 601,
  });
  assert.deepEqual(parse("udp://[::1]:5514"), { protocol: "udp", host: "::1", port: 5514 });
  for (const bad of ["log", "http://log", "tcp://", "tcp://a:99999", "tcp://a b", "udp://a/b"]) {
    assert.throws(() => parse(bad), { code: "bad_setting" }, bad);
  }
});

Deno.test("a message has the form of RFC 5424, what was refused as a warning", () => {
  const form = (severity: "notice" | "warning") =>
    text(formatSyslog({ at: 0, severity, id: "audit", text: "{}" }, { hostname: "box", pid: 7 }));
  assert.equal(form("notice"), "<109>1 1970-01-01T00:00:00.000Z box openbox 7 audit - {}");
  assert.match(form("warning"), /^<108>1 /);
});

Deno.test("over TCP each message goes with its length, so that a line break in one is no end", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const received = (async () => {
    const conn = await listener.accept();
    const all = text(new Uint8Array(await new Response(conn.readable).arrayBuffer()));
    listener.close();
    return all;
  })();
  const { port } = listener.addr;
  await sendSyslog({ protocol: "tcp", host: "127.0.0.1", port }, [utf8("a\nb"), utf8("ccc")]);
  assert.equal(await received, "3 a\nb3 ccc");
});

Deno.test("over UDP each message is a datagram", async () => {
  const { createSocket } = await import("node:dgram");
  const socket = createSocket("udp4");
  const received: string[] = [];
  const both = new Promise<void>((resolve) =>
    socket.on("message", (message) => {
      if (received.push(String(message)) === 2) resolve();
    })
  );
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", () => resolve()));
  const { port } = socket.address();
  await sendSyslog({ protocol: "udp", host: "127.0.0.1", port }, [utf8("a"), utf8("b")]);
  await both;
  assert.deepEqual(received.sort(), ["a", "b"]);
  await new Promise<void>((resolve) => socket.close(() => resolve()));
});

Deno.test("a syslog where nothing listens is a failure", async () => {
  const address = { protocol: "tcp", host: "127.0.0.1", port: 9 } as const;
  await assert.rejects(sendSyslog(address, [utf8("a")]));
});
