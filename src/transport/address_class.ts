/**
 * Where an address leads: elsewhere, or to what only a machine itself or its cloud provider should reach.
 * A name is judged as it stands; whoever dials it looks again at what it resolved to (dial_node.ts).
 */
import { BlockList, isIP, isIPv4 } from "node:net";

export type AddressClass = "elsewhere" | "loopback" | "unspecified" | "local" | "malformed";

/** `host` is an IP address, IPv6 without brackets, or a name. */
export function classify(host: string): AddressClass {
  switch (isIP(host)) {
    case 4:
      return classifyIp(host, "ipv4");
    case 6: {
      if (host.includes("%")) return "local"; // a zone is one machine's name for a link
      const embedded = embeddedIpv4(host);
      return embedded ? classifyIp(embedded, "ipv4") : classifyIp(host, "ipv6");
    }
    default:
      return classifyName(host.toLowerCase().replace(/\.$/, ""));
  }
}

const NAME =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
/** What resolvers take for an IPv4 address in another spelling: `0`, `127.1`, `0x7f.1`. */
const NUMERIC = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/;
const METADATA_NAMES: ReadonlySet<string> = new Set([
  "metadata",
  "metadata.google.internal",
  "instance-data",
]);

function classifyName(name: string): AddressClass {
  if (!NAME.test(name) || NUMERIC.test(name)) return "malformed";
  if (name === "localhost" || name.endsWith(".localhost")) return "loopback";
  return METADATA_NAMES.has(name) ? "local" : "elsewhere";
}

/** The IPv4 address inside a mapped, compatible or NAT64 IPv6 address: it is what gets dialled. */
function embeddedIpv4(address: string): string | undefined {
  const plain = new URL(`http://[${address}]`).hostname.slice(1, -1); // one spelling of many
  const [, high, low] = /^(?:::ffff:|::|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(plain) ??
    [];
  if (high === undefined || low === undefined) return undefined;
  const bits = [parseInt(high, 16), parseInt(low, 16)];
  return bits.flatMap((half) => [half >> 8, half & 255]).join(".");
}

type Family = "ipv4" | "ipv6";
const RANGES: readonly (readonly [AddressClass, network: string, bits: number])[] = [
  ["loopback", "127.0.0.0", 8],
  ["loopback", "::1", 128],
  ["unspecified", "0.0.0.0", 8],
  ["unspecified", "::", 128],
  ["local", "169.254.0.0", 16], // link-local, and where clouds answer with credentials
  ["local", "fe80::", 10],
  ["local", "fd00:ec2::254", 128], // metadata: AWS over IPv6, Alibaba, Azure
  ["local", "100.100.100.200", 32],
  ["local", "168.63.129.16", 32],
  ["local", "224.0.0.0", 3], // multicast, reserved and broadcast
  ["local", "ff00::", 8],
];
const LISTS = Map.groupBy(RANGES, ([kind]) => kind);
const BLOCKS = [...LISTS].map(([kind, ranges]) => {
  const list = new BlockList();
  for (const [, network, bits] of ranges) {
    list.addSubnet(network, bits, isIPv4(network) ? "ipv4" : "ipv6");
  }
  return { kind, list };
});

const classifyIp = (address: string, family: Family): AddressClass =>
  BLOCKS.find(({ list }) => list.check(address, family))?.kind ?? "elsewhere";
