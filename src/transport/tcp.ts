/** The transport over TCP: what a machine reaches directly. */
import { setImmediate } from "node:timers";
import { type AbortOptions, abortReason } from "../abort.ts";
import { systemClock } from "../clock.ts";
import { log } from "../log.ts";
import { AcceptedConn } from "./accepted_conn.ts";
import { dial } from "./dial.ts";
import { type Address, formatAddress, isUnspecified, parseAddress } from "./address.ts";
import type { Conn, Listener, Transport } from "./transport.ts";

/** Between two tries to accept while the process is out of descriptors. */
const MIN_BACKOFF_MS = 20, MAX_BACKOFF_MS = 500;
/** Between two lines of the log about it. */
const COMPLAINT_MS = 10_000;

/** Rejects where the address cannot be had; `systemClock` paces the tries after a failed accept. */
export function listen(
  addr: string,
  onConn: (conn: Conn) => void,
  { signal }: AbortOptions = {},
): Promise<Listener> {
  if (signal?.aborted) return Promise.reject(abortReason(signal));
  const { host, port } = parseAddress(addr, "The address");
  let listener: Deno.TcpListener;
  try {
    listener = Deno.listen({ hostname: host || "0.0.0.0", port });
  } catch (error) {
    return Promise.reject(error);
  }
  const stopped = new AbortController();
  const accepting = acceptAll(listener, onConn, stopped.signal);
  return Promise.resolve({
    addr: formatAddress({ host: host || "0.0.0.0", port: listener.addr.port }),
    async [Symbol.asyncDispose]() {
      if (stopped.signal.aborted) return;
      stopped.abort();
      listener.close();
      await accepting;
    },
  });
}

async function acceptAll(
  listener: Deno.TcpListener,
  onConn: (conn: Conn) => void,
  stopped: AbortSignal,
): Promise<void> {
  let backoffMs = MIN_BACKOFF_MS, complainedAt = -Infinity;
  while (!stopped.aborted) {
    try {
      const conn = await listener.accept();
      backoffMs = MIN_BACKOFF_MS;
      onConn(new AcceptedConn(conn));
      // a crowd would be accepted in one turn of the event loop, and what is closed goes only with the next
      await new Promise((resolve) => setImmediate(resolve));
    } catch (error) {
      if (stopped.aborted) return;
      // out of descriptors or memory, or a peer that was gone again: all of them pass
      if (performance.now() - complainedAt > COMPLAINT_MS) {
        complainedAt = performance.now();
        log("transport").warn("a connection could not be accepted; trying on", { error });
      }
      await systemClock.sleep(backoffMs, { signal: stopped }).catch(() => {});
      backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
    }
  }
}

/** For a listener on every address: the first address of this machine that another one can reach. */
export function advertise(addr: string): Promise<string> {
  const { host, port } = parseAddress(addr, "The address");
  return Promise.resolve(formatAddress({ host: isUnspecified(host) ? reachable() : host, port }));
}

function reachable(): Address["host"] {
  const usable = Deno.networkInterfaces().filter(({ address, family }) =>
    family === "IPv4" ? !/^(?:127|169\.254)\./.test(address) : !/^(?:::1$|fe[89ab])/i.test(address)
  );
  const best = usable.find(({ family }) => family === "IPv4") ?? usable[0];
  return best?.address ?? "127.0.0.1";
}

export const tcpTransport: Transport = { listen, dial, advertise };
