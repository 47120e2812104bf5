/**
 * Whether a listener of this process still takes connections: asked at its own door, for whoever would
 * start the process anew if it did not. So only what cannot be anything else counts as no answer.
 */
import type { AbortOptions } from "../abort.ts";
import { type Address, isLoopback, isUnspecified } from "./address.ts";

/** Where a knock at a listener goes, the likelier first; empty where this machine has lost the address meanwhile. */
export function ownDoors({ host, port }: Address): Address[] {
  // one on every address of IPv6 takes IPv4 too, unless the system says otherwise
  if (isUnspecified(host)) return ["127.0.0.1", "::1"].map((own) => ({ host: own, port }));
  const isOurs = isLoopback(host) || isName(host) ||
    Deno.networkInterfaces().some(({ address }) => address === withoutZone(host));
  return isOurs ? [{ host, port }] : [];
}

/**
 * Rejects where nobody takes the connection, or nothing comes back before `signal` aborts, at each of
 * `doors`. `ask` connects, and resolves at whatever the other end does.
 */
export async function knock(
  doors: readonly Address[],
  ask: (door: Address, options: Required<AbortOptions>) => Promise<void>,
  { signal }: Required<AbortOptions>,
): Promise<void> {
  let silence: unknown;
  for (const door of doors) {
    try {
      return await ask(door, { signal });
    } catch (error) {
      // out of descriptors or memory, a route that is gone: that says nothing of the listener
      const isSilence = signal.aborted || (error as { code?: string }).code === "ECONNREFUSED";
      if (isSilence) silence = error;
      if (signal.aborted) break;
    }
  }
  if (silence !== undefined) throw silence;
}

const isName = (host: string): boolean => !/^[\d.]+$|:/.test(host);
const withoutZone = (host: string): string => host.replace(/%.*$/, "");
