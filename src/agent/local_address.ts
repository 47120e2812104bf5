import { type AbortOptions, deadline } from "../abort.ts";
import type { ServerUrl } from "../client/server_url.ts";
import { dial } from "../transport/dial.ts";
import { formatAddress } from "../transport/address.ts";

const DIAL_MS = 5_000;

/** The address from which this machine reaches the control plane; undefined where it does not. */
export async function localAddress(
  server: ServerUrl,
  options: AbortOptions,
): Promise<string | undefined> {
  const host = server.hostname.replace(/^\[|\]$/g, "");
  using limit = deadline(DIAL_MS, () => new Error("no answer"), options);
  try {
    const socket = await dial(formatAddress({ host, port: server.port }), limit);
    const address = socket.localAddress?.replace(/^::ffff:(?=\d+\.)/, "");
    socket.destroy();
    return address;
  } catch {
    return undefined; // the heartbeat tells what is wrong, in better words
  }
}
