/**
 * Which addresses a node may give as its own. Callers dial them, later the control plane too, so an
 * address must not lead to what only a machine itself or its cloud provider should reach. Whoever
 * dials looks again at what a name resolved to: here names are not resolved.
 */
import { isIP } from "node:net";
import { OpenboxError } from "../errors.ts";
import { classify } from "../transport/address_class.ts";

export interface AddressPolicy {
  /** While the control plane itself can be reached from its own machine only, a node may be there too. */
  readonly loopback: boolean;
}

/** Throws `bad_request` for an address that is not `HOST:PORT` or that no node may have. */
export function checkNodeAddress(address: string, policy: AddressPolicy): void {
  const refuse = (why: string): never => {
    throw new OpenboxError("bad_request", `The node's address ${JSON.stringify(address)} ${why}`, {
      hint: "openbox agent --advertise HOST:PORT says which address others use",
    });
  };
  const { host, port } = splitAddress(address) ?? refuse("is not of the form HOST:PORT");
  if (port < 1 || port > 65535) refuse("has no valid port");
  switch (classify(host)) {
    case "elsewhere":
      return;
    case "loopback":
      if (policy.loopback) return;
      return refuse("is on loopback, which other machines cannot reach");
    case "unspecified":
      return refuse("says every address, which nobody can dial");
    case "local":
      return refuse("is link-local, multicast or a cloud's metadata service");
    case "malformed":
      return refuse("is no address and no host name");
  }
}

/** `host:port`, IPv6 in brackets; undefined for anything else. The port is a number, not yet a valid one. */
export function splitAddress(address: string): { host: string; port: number } | undefined {
  const [, v6, name, port] = /^(?:\[([^[\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined || (v6 !== undefined && isIP(v6) !== 6)) return undefined;
  return { host: v6 ?? name!, port: Number(port) };
}
