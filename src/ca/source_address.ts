/** OpenSSH's `source-address`: a comma-separated list of addresses and CIDR blocks (ssh-keygen(1)). */
import { BlockList, isIP } from "node:net";

/** False for whatever does not match, and for a list that cannot be read whole. */
export function matchesSourceAddress(list: string, address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, "");
  const family = isIP(plain);
  if (family === 0) return false;
  const blocks = new BlockList();
  for (const entry of list.split(",")) {
    const [network = "", bits, ...rest] = entry.split("/");
    const kind = isIP(network), size = kind === 4 ? 32 : 128;
    const prefix = bits === undefined ? size : /^\d{1,3}$/.test(bits) ? Number(bits) : NaN;
    if (kind === 0 || rest.length > 0 || !(prefix >= 0 && prefix <= size)) return false;
    blocks.addSubnet(network, prefix, kind === 4 ? "ipv4" : "ipv6");
  }
  return blocks.check(plain, family === 4 ? "ipv4" : "ipv6");
}
