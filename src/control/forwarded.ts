/**
 * Whom a request comes from and by which name, where a proxy may stand in front. Headers that tell of it
 * are believed only from the addresses of proxies that the operator named: from anybody else they are
 * just text, and one could write another's address into them.
 */
import type { IncomingMessage } from "node:http";
import { BlockList, isIP, isIPv4 } from "node:net";
import { OpenboxError } from "../errors.ts";
import { splitOrigin } from "./host_policy.ts";

/** Whether an address is that of a proxy of ours. */
export type TrustedProxies = (address: string) => boolean;

export interface Arrival {
  /** The address of who sent the request, without a port. */
  readonly source: string;
  /** `https://box:8443`, as the caller wrote it. */
  readonly origin: string;
  /** The names that the request gives as its host: each of them must be ours. */
  readonly hostnames: readonly string[];
  readonly viaProxy: boolean;
}

type Incoming = Pick<IncomingMessage, "headers"> & {
  readonly socket: { readonly remoteAddress?: string };
};

export function readArrival(
  incoming: Incoming,
  /** The whole URL, its host being that of the Host header. */
  url: string,
  { proxies, publicUrl }: {
    readonly proxies: TrustedProxies;
    readonly publicUrl: string | undefined;
  },
): Arrival {
  const { origin, hostname } = splitOrigin(url);
  const peer = plainAddress(incoming.socket.remoteAddress ?? "");
  if (!proxies(peer)) return { source: peer, origin, hostnames: [hostname], viaProxy: false };
  const { headers } = incoming;
  const proto = last(headers["x-forwarded-proto"]).toLowerCase();
  const scheme = proto === "https" || proto === "http"
    ? proto
    : (publicUrl ?? origin).split(":", 1)[0]!;
  const host = last(headers["x-forwarded-host"]) || origin.slice(origin.indexOf("://") + 3);
  const forwarded = HOST.test(host) ? splitOrigin(`${scheme}://${host}/`) : undefined;
  return {
    source: farthest(peer, entries(headers["x-forwarded-for"]), proxies),
    origin: forwarded?.origin ?? origin,
    // the one that the proxy used too: a page that reaches us by its own name may send any header
    hostnames: [hostname, forwarded?.hostname ?? ""],
    viaProxy: true,
  };
}

/** Trusts the addresses and networks given, as `parseProxies` returns them. */
export function trustProxies(networks: readonly string[]): TrustedProxies {
  if (networks.length === 0) return () => false;
  const list = new BlockList();
  for (const network of networks) {
    const [address, bits] = network.split("/") as [string, string];
    list.addSubnet(address, Number(bits), isIPv4(address) ? "ipv4" : "ipv6");
  }
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 4 ? "ipv4" : "ipv6");
  };
}

/** `10.0.0.4,10.1.0.0/16,fd00::/8`, each with its bits. Throws `bad_setting`; `source` says where the text stood. */
export function parseProxies(text: string, source: string): readonly string[] {
  return text.split(",").map((entry) => {
    const [, address = "", given] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry.trim()) ?? [];
    const version = isIP(address), max = version === 4 ? 32 : 128;
    const bits = given === undefined ? max : Number(given);
    // everybody as a proxy would let everybody choose his own address
    if (version !== 0 && !address.includes("%") && bits >= 1 && bits <= max) {
      return `${address}/${bits}`;
    }
    throw new OpenboxError(
      "bad_setting",
      `${source}: ${JSON.stringify(entry.trim().slice(0, 100))} is no address and no network`,
      { hint: "the addresses of the proxies, such as 10.0.0.4 or 10.0.0.0/8,fd00::/8" },
    );
  });
}

/** Who is on the other end of this machine. */
export const LOOPBACK_NETWORKS: readonly string[] = ["127.0.0.0/8", "::1/128"];

/** One address has one spelling, also where it reached an IPv6 socket. */
const plainAddress = (address: string): string =>
  address.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");

/** A name or an address, and perhaps a port. */
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i;

/**
 * From our end to the first that is no proxy of ours: what stands before it, it may have written itself.
 * What is no address ends the way too.
 */
function farthest(peer: string, hops: readonly string[], proxies: TrustedProxies): string {
  let source = peer;
  for (const hop of hops.toReversed()) {
    const address = plainAddress(withoutPort(hop));
    if (isIP(address) === 0) break;
    source = address;
    if (!proxies(address)) break;
  }
  return source;
}

/** Some proxies add one: `203.0.113.7:4711`, `[2001:db8::7]:4711`. */
const withoutPort = (hop: string): string =>
  /^\[(.*)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;

/** A header that came several times is joined by then. */
const entries = (header: string | string[] | undefined): string[] =>
  String(header ?? "").split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");

/** The nearest proxy writes at the end. */
const last = (header: string | string[] | undefined): string => entries(header).at(-1) ?? "";
