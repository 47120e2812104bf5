/** A TCP connection to an address. In a file of its own: a command's way to its node loads no more than it needs. */
import { connect, type LookupFunction, type Socket } from "node:net";
import { type AbortOptions, abortReason } from "../abort.ts";
import { parseAddress } from "./address.ts";

/** Silence before the system asks whether the peer is still there. */
const KEEP_ALIVE_MS = 30_000;

export interface DialOptions extends Required<AbortOptions> {
  /** Resolves names in the system's place. */
  readonly lookup?: LookupFunction;
}

/** Rejects with the system's error, or the signal's reason. What breaks later may do so before anybody listens. */
export async function dial(
  addr: string,
  { signal, lookup }: DialOptions,
): Promise<Socket> {
  const { host, port } = parseAddress(addr, "The address");
  if (signal.aborted) throw abortReason(signal);
  return await new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true, ...(lookup && { lookup }) });
    const settle = (error?: Error) => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", settle);
      // one that comes before the caller listens would end the process; `errored` and `close` tell of it
      socket.on("error", () => {});
      if (error) {
        socket.destroy();
        return reject(error);
      }
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      resolve(socket);
    };
    const onAbort = () => settle(abortReason(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", () => settle());
    socket.on("error", settle);
  });
}
