import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { connect as connectTls } from "node:tls";
import { Hono } from "@hono/hono";
import type { App } from "../../../src/control/app.ts";
import { type HttpServer, listen } from "../../../src/control/http_server.ts";
import { parseListenAddress } from "../../../src/control/listen_address.ts";
import { readTlsPair } from "../../../src/control/tls_pair.ts";
import { reloadTls } from "../../../src/control/tls_reload.ts";
import { startLog } from "../../../src/log.ts";
import { requireComponent } from "../../fixtures/component.ts";
import { eventually } from "../../fixtures/processes.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { type FakeHost, fakeHost } from "../../fakes/host.ts";

const OPENSSL = requireComponent("openssl");

Deno.test(
  "a renewed certificate is shown to new connections, and open ones go on",
  OPENSSL,
  async () => {
    await using place = await start();
    using open = await Deno.connectTls({
      hostname: "127.0.0.1",
      port: place.server.address.port,
      caCerts: [await Deno.readTextFile(place.cert)],
    });
    assert.equal(await get(open), "ok");
    const first = await shown(place.server);
    await makePair(place, "second");
    await place.look();
    const second = await shown(place.server);
    assert.notEqual(second, first);
    assert.equal(second, serial(await Deno.readTextFile(place.cert)));
    assert.equal(await get(open), "ok", "the connection from before");
    assert.match(place.host.err.text(), /a new TLS certificate is in use/);
  },
);

Deno.test("swapped links are followed, as certbot and Kubernetes renew", OPENSSL, async () => {
  await using place = await start();
  const real = `${place.directory}/v2`;
  await Deno.mkdir(real);
  await makePair({ cert: `${real}/tls.crt`, key: `${real}/tls.key` }, "linked");
  for (const name of ["crt", "key"]) {
    await Deno.symlink(`v2/tls.${name}`, `${place.directory}/new.${name}`);
    await Deno.rename(`${place.directory}/new.${name}`, `${place.directory}/tls.${name}`);
  }
  await place.look();
  assert.equal(await shown(place.server), serial(await Deno.readTextFile(`${real}/tls.crt`)));
});

Deno.test("a broken pair leaves the one in use, and is complained of once", OPENSSL, async () => {
  await using place = await start();
  const first = await shown(place.server);
  const complaints = () =>
    place.host.err.text().match(/cannot be used; the old ones stay/g)?.length ?? 0;
  await Deno.writeTextFile(place.cert, "half a certif");
  await place.look();
  await place.look();
  assert.equal(complaints(), 1);
  assert.equal(await shown(place.server), first);
  // half renewed: the certificate of another key
  const other = { cert: place.cert, key: `${place.directory}/other.key` };
  await makePair(other, "other");
  await place.look();
  assert.equal(complaints(), 2);
  assert.equal(await shown(place.server), first);
  await Deno.remove(place.key);
  await place.look();
  assert.equal(complaints(), 3);
  await Deno.rename(other.key, place.key);
  await place.look();
  assert.equal(complaints(), 3);
  assert.equal(await shown(place.server), serial(await Deno.readTextFile(place.cert)));
  assert.doesNotMatch(place.host.err.text(), /PRIVATE KEY/);
});

interface Place extends AsyncDisposable {
  readonly directory: string;
  readonly cert: string;
  readonly key: string;
  readonly server: HttpServer;
  readonly host: FakeHost;
  /** Lets the next look at the files happen, to its end. */
  look(): Promise<void>;
}

async function start(): Promise<Place> {
  const stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "openbox-tls-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const files = { cert: `${directory}/tls.crt`, key: `${directory}/tls.key` };
  await makePair(files, "first");
  const clock = new FakeClock(), host = fakeHost({ clock });
  const log = stack.use(await startLog(host));
  const app: App = new Hono();
  app.get("/", (c) => c.text("ok"));
  const current = await readTlsPair(files);
  const server = stack.use(
    await listen(app, { address: parseListenAddress("127.0.0.1:0", "test"), tls: current }),
  );
  stack.use(reloadTls(files, { clock, current, use: (pair) => server.useTls(pair) }));
  const asleep = () => eventually("it waits for the next look", () => clock.sleeping > 0);
  return {
    directory,
    ...files,
    server,
    host,
    async look() {
      await asleep();
      clock.advance(5000);
      await asleep();
      await log.flush();
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Writes a certificate of its own making and its key. */
async function makePair(files: { cert: string; key: string }, name: string): Promise<void> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  assert.ok(createPrivateKey(pem));
  await Deno.writeTextFile(files.key, pem);
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ...["req", "-x509", "-new", "-key", files.key, "-out", files.cert, "-days", "2"],
      ...["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
    ],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

const serial = (pem: string): string => new X509Certificate(pem).serialNumber;

/** The serial number of the certificate that a new connection is shown. */
function shown({ address }: HttpServer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      { host: "127.0.0.1", port: address.port, rejectUnauthorized: false },
      () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      },
    );
    socket.on("error", reject);
  });
}

/** Over a connection that stays. */
async function get(connection: Deno.Conn): Promise<string> {
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
  const buffer = new Uint8Array(4096);
  let text = "";
  while (!/\r\n\r\n[\s\S]{2}/.test(text)) {
    const count = await connection.read(buffer);
    assert.ok(count !== null, "the connection ended");
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}
