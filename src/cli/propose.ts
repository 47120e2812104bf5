/** What the completion knows of the fleet. It is asked at every press of a key, so it gives up soon and says nothing. */
import { type AbortOptions, deadline } from "../abort.ts";
import { type ControlClient, createControlClient } from "../client/control_client.ts";
import type { Host } from "../host.ts";
import { readLogin } from "./login.ts";
import type { Context } from "./command.ts";

const PATIENCE_MS = 1000;

export const nodeNames = propose(async (control, limit) =>
  (await control.nodes({}, limit)).map((node) => node.name)
);
export const tagNames = propose(async (control, limit) =>
  (await control.nodes({}, limit)).flatMap((node) => node.tags)
);
export const sessionNames = propose(async (control, limit) =>
  (await control.sessions(limit)).map((session) => session.session_id)
);

function propose(ask: (control: ControlClient, limit: AbortOptions) => Promise<string[]>) {
  return async function (this: Context, partial: string): Promise<readonly string[]> {
    const found = (await names(this.host, ask)).filter((name) => name.startsWith(partial));
    return [...new Set(found)].sort();
  };
}

async function names(host: Host, ask: Parameters<typeof propose>[0]): Promise<readonly string[]> {
  try {
    using limit = deadline(PATIENCE_MS, () => new Error("too slow"), { signal: host.signal });
    await using control = createControlClient(await readLogin(host));
    return await ask(control, limit);
  } catch {
    return [];
  }
}
