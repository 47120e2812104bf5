/** What is set around openbox and must not matter: proxies, Deno's variables, time zones, memory that runs out. */
import assert from "node:assert/strict";
import { text } from "../../src/bytes.ts";
import { startFleet, step } from "../fixtures/fleet.ts";
import { startFakeControl } from "../unit/cli/fake_control.ts";

/** An HTTP proxy that tunnels to wherever it is asked to, and keeps what it was sent. */
function startProxy() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.TcpConn>();
  let seen = "";
  const copy = async (from: Deno.TcpConn, to: Deno.TcpConn) => {
    const buffer = new Uint8Array(64 * 1024);
    for (let read; (read = await from.read(buffer)) !== null;) {
      seen += text(buffer.subarray(0, read));
      await to.write(buffer.subarray(0, read));
    }
    await to.closeWrite();
  };
  const serve = async (near: Deno.TcpConn) => {
    open.add(near);
    const buffer = new Uint8Array(64 * 1024);
    const asked = text(buffer.subarray(0, await near.read(buffer) ?? 0));
    seen += asked;
    const port = /^CONNECT \S+:(\d+) /.exec(asked)?.[1];
    if (port === undefined) return near.close();
    const far = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
    open.add(far);
    await near.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"));
    await Promise.all([copy(near, far), copy(far, near)]);
  };
  const serving: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) serving.push(serve(conn).catch(() => {}));
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    seen: () => seen,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const conn of open) {
        try {
          conn.close();
        } catch {
          // closed already
        }
      }
      await accepting;
      await Promise.all(serving);
    },
  };
}

const through = (proxy: string): Record<string, string> => ({
  ...Object.fromEntries(
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [
      [name, proxy],
      [name.toLowerCase(), proxy],
    ]),
  ),
  NO_PROXY: "",
  DENO_NO_UPDATE_CHECK: "1", // as scripts/openbox sets it
});

/** Each of them says elsewhere that certificates need not be looked at. */
const LAX = {
  NODE_TLS_REJECT_UNAUTHORIZED: "0",
  DENO_TLS_CA_STORE: "mozilla,system",
  DENO_UNSAFELY_IGNORE_CERTIFICATE_ERRORS: "127.0.0.1",
};

const fixture = (name: string) => new URL(`../fixtures/${name}`, import.meta.url).pathname;
/** An address of this machine that is not loopback: to openbox it is another machine's. */
const far = Deno.networkInterfaces().find(({ family, address }) =>
  family === "IPv4" && !address.startsWith("127.")
)?.address;

Deno.test("what is set around openbox does not matter", async (t) => {
  await using proxy = startProxy();
  const proxied = through(proxy.url);
  await using fleet = await startFleet({
    agents: [{
      name: "box",
      tags: ["box"],
      // half a day ahead of the caller's, and beyond all that summer time does
      env: { ...proxied, ...LAX, LD_PRELOAD: "/nonexistent.so", TZ: "Pacific/Kiritimati" },
    }],
  });

  await step(t, "CFG-7: no proxy is asked on the way to a node or to this machine", async () => {
    const { code, out } = await fleet.call(["-t", "box", "echo reached"], { env: proxied });
    assert.deepEqual([code, out, proxy.seen()], [0, "reached\n", ""]);
  });

  await step(t, "CFG-7: nothing of the agent's own variables reaches a command", async () => {
    const { out } = await fleet.call(["-t", "box", "env"]);
    assert.doesNotMatch(out, /PROXY|_proxy|DENO|NODE_|LD_PRELOAD|TZ=/);
  });

  await step(t, "CFG-7: plain HTTP to another machine is not shown to a proxy either", async () => {
    if (far === undefined) return; // a machine without a network
    let asked = 0;
    await using server = Deno.serve({ hostname: far, port: 0, onListen() {} }, () => {
      asked++;
      return Response.json({ error: "no", code: "unauthorized" }, { status: 401 });
    });
    const env = {
      ...proxied,
      OPENBOX_SERVER: `http://${far}:${server.addr.port}`,
      OPENBOX_TOKEN: fleet.token,
      OPENBOX_INSECURE_HTTP: "1",
    };
    const { code, err } = await fleet.call(["whoami"], { env });
    assert.deepEqual([code, asked, proxy.seen()], [3, 1, ""], err);
  });

  await step(t, "CFG-7: a proxy in front of TLS sees neither the token nor an answer", async () => {
    const [cert, key] = await Promise.all(
      ["tls.crt", "tls.key"].map((name) => Deno.readTextFile(fixture(name))),
    );
    await using control = startFakeControl({ tls: { cert: cert!, key: key! } });
    const env = {
      ...proxied,
      ...LAX,
      OPENBOX_SERVER: control.url,
      OPENBOX_TOKEN: control.token,
    };
    const refused = await fleet.call(["whoami"], { env });
    assert.equal(refused.code, 6, refused.err);
    assert.match(refused.err, /^openbox: control_unreachable: .*\n +hint: --tls-ca FILE trusts/m);
    assert.deepEqual(control.requests, []);

    const trusted = await fleet.call(["whoami"], {
      env: { ...env, OPENBOX_TLS_CA: fixture("tls.crt") },
    });
    assert.equal(trusted.code, 0, trusted.err);
    assert.match(proxy.seen(), /^CONNECT /m);
    assert(!proxy.seen().includes(control.token));
    assert(!proxy.seen().includes("whoami"));
  });

  await step(t, "CLK-4: time zones half a day apart change nothing", async () => {
    const env = { TZ: "America/New_York" };
    const { code, out } = await fleet.call(["-t", "box", "-s", "zone", "echo in time"], { env });
    assert.deepEqual([code, out], [0, "in time\n"]);
    const last = async (TZ: string, ...since: string[]) => {
      const args = ["audit", "--json", "--limit", "5", ...since];
      const { out, err } = await fleet.call(args, { env: { TZ } });
      assert.equal(err, "");
      return out.trim().split("\n").map((line) => JSON.parse(line).seq);
    };
    const hour = new Date(Date.now() - 3_600_000).toISOString().slice(0, 16);
    for (const zone of ["Pacific/Kiritimati", "America/New_York", "UTC"]) {
      assert.equal((await last(zone, "--since", hour)).length, 5, zone);
    }
  });

  await step(t, "KIL-10: where memory runs out, commands go before the agent does", async () => {
    if (Deno.build.os !== "linux") return;
    const score = (path: string) => `cat ${path}/oom_score_adj`;
    const own = Number(await Deno.readTextFile(`/proc/${fleet.agents[0]!.pid}/oom_score_adj`));
    assert(own < 500);
    for (const how of [[], ["-s", "memory"]]) {
      const { out } = await fleet.call(["-t", "box", ...how, score("/proc/self")]);
      assert.equal(out, "500\n", how.join(" "));
    }
  });
});
