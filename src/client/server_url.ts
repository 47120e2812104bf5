/** The address of a control plane, as login, agent and environment give it: read in one place, so that all refuse the same. */
import { OpenboxError } from "../errors.ts";

export interface ServerUrl {
  /** Scheme, host, port and path without a slash at its end: what is shown, stored and put before `/v1/…`. */
  readonly href: string;
  readonly hostname: string;
  readonly port: number;
  /** Whether the bytes never leave this machine. */
  readonly loopback: boolean;
  /** `http:`: what is sent there, tokens too, can be read on the way. */
  readonly plain: boolean;
}

/** Throws `bad_setting` for anything but an http(s) address; `source` says where it stood, such as `--server`. */
export function parseServerUrl(text: string, source = "--server"): ServerUrl {
  const refuse = (why: string): never => {
    throw new OpenboxError(
      "bad_setting",
      `${source} ${JSON.stringify(text.slice(0, 200))}: ${why}`,
      { hint: "an address such as https://box.example.com or http://127.0.0.1:8080" },
    );
  };
  if (!/^https?:\/\//i.test(text)) return refuse("it must begin with https:// or http://");
  const url = URL.parse(text) ?? refuse("it is not an address");
  if (url.username || url.password) return refuse("no user or password goes into it");
  if (url.search || url.hash) return refuse("no ? or # goes into it");
  const plain = url.protocol === "http:";
  return {
    href: url.origin + url.pathname.replace(/\/+$/, ""),
    hostname: url.hostname,
    port: Number(url.port) || (plain ? 80 : 443),
    loopback: isLoopbackName(url.hostname),
    plain,
  };
}

/** Throws `insecure_http` where a token would cross a network in clear text and nobody said that this is wanted. */
export function requireSecure(server: ServerUrl, insecureHttp: boolean): void {
  if (!isInsecure(server) || insecureHttp) return;
  throw new OpenboxError(
    "insecure_http",
    `${server.href} is plain HTTP to another machine: the token could be read on the way`,
    { hint: "use https://, or --insecure-http where the network itself is private" },
  );
}

export const isInsecure = (server: ServerUrl): boolean => server.plain && !server.loopback;

/** A URL's hostname: the parser has normalised 127.1 and 0x7f000001 by then. */
const isLoopbackName = (hostname: string): boolean =>
  hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" ||
  /^127\.\d+\.\d+\.\d+$/.test(hostname);
