/** Whether the agent's own port takes a connection and says something, as SSH has it. */
import type { AbortOptions } from "../abort.ts";
import { abortReason } from "../abort.ts";
import { formatAddress, parseAddress } from "../transport/address.ts";
import { knock, ownDoors } from "../transport/knock.ts";
import type { Transport } from "../transport/transport.ts";

/** Rejects where nothing comes back before `signal` aborts. */
export const answers = (
  { addr, transport }: { readonly addr: string; readonly transport: Pick<Transport, "dial"> },
  options: Required<AbortOptions>,
): Promise<void> =>
  knock(ownDoors(parseAddress(addr, "The address")), async (door, { signal }) => {
    const conn = await transport.dial(formatAddress(door), { signal });
    try {
      await new Promise<void>((resolve, reject) => {
        // its version line, or in a crowd its end
        conn.once("data", () => resolve());
        conn.once("close", () => resolve());
        signal.addEventListener("abort", () => reject(abortReason(signal)), { once: true });
      });
    } finally {
      conn.destroy();
    }
  }, options);
