/** Where an agent listens and what it tells others (docs/protocol.md › Addresses). */
import type { AbortOptions } from "../abort.ts";
import type { ServerUrl } from "../client/server_url.ts";
import {
  type Address,
  formatAddress,
  isLoopback,
  isUnspecified,
  parseAddress,
} from "../transport/address.ts";
import type { Transport } from "../transport/transport.ts";
import { AGENT_PORT } from "./settings.ts";

export interface NodeAddress {
  readonly listen: Address;
  /** Its port is that of `listen`, unless somebody said another one. */
  readonly advertise: Address;
}

export interface AddressDeps {
  readonly server: ServerUrl;
  /** What `--addr` and `--advertise` said. */
  readonly addr: Address | undefined;
  readonly advertise: Address | undefined;
  readonly transport: Pick<Transport, "advertise">;
  /** This machine's end of a connection to the control plane; undefined where there is none just now. */
  localAddress(server: ServerUrl, options: AbortOptions): Promise<string | undefined>;
}

/** Undefined where it depends on the connection to the control plane, and there is none. */
export async function findAddress(
  { server, addr, advertise, transport, localAddress }: AddressDeps,
  options: AbortOptions = {},
): Promise<NodeAddress | undefined> {
  const reachable = async (host: string) => {
    const addr = await transport.advertise(formatAddress({ host, port: AGENT_PORT }));
    return parseAddress(addr, "The address").host;
  };
  // a name of this machine may lead to loopback, which others cannot dial
  const local = async () => {
    const host = await localAddress(server, options);
    return host !== undefined && isLoopback(host) ? await reachable("0.0.0.0") : host;
  };

  const host = addr?.host === "localhost"
    ? "127.0.0.1"
    : addr?.host ?? (server.loopback ? "127.0.0.1" : await local());
  if (host === undefined) return undefined;
  const listen = { host, port: addr?.port ?? AGENT_PORT };
  if (advertise) return { listen, advertise };
  if (!isUnspecified(host)) return { listen, advertise: listen };
  const shown = (server.loopback ? undefined : await local()) ?? await reachable(host);
  return { listen, advertise: { host: shown, port: listen.port } };
}
