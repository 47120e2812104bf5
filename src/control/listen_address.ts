/** Where the control plane listens: `:8080`, `localhost:8080`, `[::]:8080`, `10.0.0.4:8080`. */
import { isIP } from "node:net";
import { OpenboxError } from "../errors.ts";
import { classify } from "../transport/address_class.ts";
import { splitAddress } from "./address_policy.ts";

export interface ListenAddress {
  /** An IP address; undefined is every address of the machine. */
  readonly hostname: string | undefined;
  /** 0 takes a free one. */
  readonly port: number;
  /** Only this machine gets there. */
  readonly loopback: boolean;
}

/** Throws `bad_setting`; `source` says where the text stood, such as `--addr`. */
export function parseListenAddress(text: string, source: string): ListenAddress {
  const split = splitAddress(text);
  if (split && split.port <= 65535) {
    const { host, port } = split;
    // not whatever the resolver has first, which may be ::1: the address that clients are told
    if (host === "localhost") return { hostname: "127.0.0.1", port, loopback: true };
    if (host === "") return { hostname: undefined, port, loopback: false };
    if (isIP(host)) return { hostname: host, port, loopback: classify(host) === "loopback" };
  }
  throw new OpenboxError(
    "bad_setting",
    `Cannot listen on ${
      JSON.stringify(text)
    }, from ${source}: not an address of this machine and a port`,
    { hint: "127.0.0.1:8080, 10.0.0.4:8080, [::1]:8080, or :8080 for every address" },
  );
}
