/**
 * A connection to the address that a node gave as its own. The control plane looked at it, but a name may
 * lead elsewhere by now: what it resolves to is judged here, by the one who dials it (DNS rebinding).
 */
import { lookup as resolve, type LookupAddress } from "node:dns";
import { isIP, type LookupFunction, type Socket } from "node:net";
import type { AbortOptions } from "../abort.ts";
import { OpenboxError } from "../errors.ts";
import { parseAddress } from "./address.ts";
import { classify } from "./address_class.ts";
import { dial } from "./dial.ts";

/** Rejects as `dial` does, and with `node_unreachable` for an address that no node elsewhere can have. */
export async function dialNode(
  addr: string,
  { signal }: Required<AbortOptions>,
): Promise<Socket> {
  const { host } = parseAddress(addr, "The node's address");
  // loopback as it stands is a node of this machine, which the control plane allowed
  if (isIP(host) !== 0 && !["elsewhere", "loopback"].includes(classify(host))) {
    throw refused(host, host);
  }
  return await dial(addr, { signal, lookup: lookupNode });
}

/** `resolver` as node:dns has it. */
export const judgingLookup = (resolver: typeof resolve): LookupFunction => (name, options, done) =>
  resolver(name, { ...options, all: true }, (error, found) => {
    if (error) return done(error, []);
    const addresses = found.filter(({ address }) => isAllowed(name, address));
    if (addresses.length === 0) {
      return done(refused(name, found.map(({ address }) => address).join(", ")), []);
    }
    if (options.all) return done(null, addresses);
    const [first] = addresses as [LookupAddress];
    done(null, first.address, first.family);
  });

const lookupNode = judgingLookup(resolve);

/**
 * A name without a dot is one of this machine or its own network, which may well call the machine itself
 * 127.0.1.1; the DNS of others cannot answer for it.
 */
function isAllowed(name: string, address: string): boolean {
  const kind = classify(address);
  return kind === "elsewhere" ||
    (kind === "loopback" && (!name.includes(".") || classify(name) === "loopback"));
}

const refused = (name: string, address: string) =>
  new OpenboxError(
    "node_unreachable",
    `The node's address ${name} leads to ${address}, where no other machine can be`,
    { hint: "openbox agent --advertise HOST:PORT on the node says which address others use" },
  );
