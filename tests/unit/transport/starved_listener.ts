/** A process that listens, holds what it accepts, and tells how many that are; started with few descriptors. */
import process from "node:process";
import { systemClock } from "../../../src/clock.ts";
import { startLog } from "../../../src/log.ts";
import { listen } from "../../../src/transport/tcp.ts";
import type { Conn } from "../../../src/transport/transport.ts";
import { utf8 } from "../../../src/bytes.ts";
import { fakeHost } from "../../fakes/host.ts";

const host = fakeHost({ clock: systemClock });
await using _log = await startLog(host, { format: "text" });
Deno.addSignalListener("SIGTERM", () => Deno.exit(0));

const held = new Set<Conn>();
await using listener = await listen("127.0.0.1:0", (conn) => {
  held.add(conn);
  conn.on("error", () => {}).on("close", () => held.delete(conn));
  conn.on("data", (bytes) => conn.write(bytes));
});

const tell = (line: unknown) => Deno.stdout.write(utf8(JSON.stringify(line) + "\n"));
await tell({ addr: listener.addr });
for (;;) {
  await systemClock.sleep(100);
  const { user, system } = process.cpuUsage();
  const logged = host.err.text().split("\n").filter((line) => line !== "");
  await tell({ held: held.size, cpuMs: (user + system) / 1000, logged });
}
