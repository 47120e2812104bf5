/** Whether the daemon's own socket takes a connection and says something. */
import { abortable, type AbortOptions } from "../abort.ts";

/** Rejects where nothing comes back before `signal` aborts. */
export async function answers(path: string, { signal }: Required<AbortOptions>): Promise<void> {
  using conn = await abortable(Deno.connect({ transport: "unix", path }), signal);
  // its greeting, or its end
  await abortable(conn.read(new Uint8Array(1)), signal);
}
