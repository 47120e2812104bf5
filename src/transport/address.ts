/** `host:port` as people type it and as it crosses the wire: IPv6 in brackets, `:7600` for every address. */
import { OpenboxError } from "../errors.ts";

export interface Address {
  /** A name or an IP address, without brackets; empty for every address. */
  readonly host: string;
  readonly port: number;
}

/** Throws `bad_setting`; `source` says where the text stood, such as `--addr`. Without a port it is `defaultPort`. */
export function parseAddress(
  text: string,
  source: string,
  { defaultPort }: { defaultPort?: number } = {},
): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([^\s[\]:/@]*))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host !== undefined && port !== undefined && port <= 65535 && text !== "") {
    return { host, port };
  }
  throw new OpenboxError(
    "bad_setting",
    `${source} ${JSON.stringify(text.slice(0, 100))}: not an address`,
    { hint: "HOST:PORT, [IPV6]:PORT, or :PORT for every address of this machine" },
  );
}

export const formatAddress = ({ host, port }: Address): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

/** Stands for every address of a machine: fine to listen on, nothing that others could dial. */
export const isUnspecified = (host: string): boolean =>
  host === "" || host === "0.0.0.0" || /^[0:]+$/.test(host);

export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/.test(host);
