/**
 * Which names a request may give as its host. A page that points its own name at this machine's
 * address (DNS rebinding) sends that name; whoever typed an address or our name sends that.
 */
import { isIP } from "node:net";

/** `publicUrl` is what others use. */
export function isAllowedHost(hostname: string, publicUrl: string | undefined): boolean {
  const name = hostname.toLowerCase().replace(/\.$/, "");
  return name === "localhost" || name.endsWith(".localhost") ||
    isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0 ||
    (publicUrl !== undefined && name === new URL(publicUrl).hostname);
}

/**
 * Whether a request is one that a page of somebody else's made its reader's browser send, by what
 * browsers say of it (`Origin`, `Sec-Fetch-Site`). Others send neither.
 */
export function isFromForeignPage(
  headers: { readonly origin?: string; readonly "sec-fetch-site"?: string | string[] },
  ours: readonly string[],
): boolean {
  if (headers.origin !== undefined) return !ours.includes(headers.origin);
  return headers["sec-fetch-site"] === "cross-site";
}

/** Of an absolute URL: `https://box:8443` and `box`. */
export function splitOrigin(url: string): { origin: string; hostname: string } {
  const origin = url.slice(0, url.indexOf("/", url.indexOf("://") + 3));
  const hostname = origin.slice(origin.indexOf("://") + 3).replace(/:\d+$/, "");
  return { origin, hostname };
}
