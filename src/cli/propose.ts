/** What the completion knows of the fleet. It is asked at every press of a key, so it gives up soon and says nothing. */
import { deadline } from "../abort.ts";
import type { Node } from "../api/nodes.ts";
import { createControlClient } from "../client/control_client.ts";
import type { Host } from "../host.ts";
import { readLogin } from "./login.ts";
import type { Context } from "./command.ts";

const PATIENCE_MS = 1000;

export const nodeNames = propose((nodes) => nodes.map((node) => node.name));
export const tagNames = propose((nodes) => nodes.flatMap((node) => node.tags));

function propose(pick: (nodes: readonly Node[]) => string[]) {
  return async function (this: Context, partial: string): Promise<readonly string[]> {
    const found = pick(await fleet(this.host)).filter((name) => name.startsWith(partial));
    return [...new Set(found)].sort();
  };
}

async function fleet(host: Host): Promise<readonly Node[]> {
  try {
    using limit = deadline(PATIENCE_MS, () => new Error("too slow"), { signal: host.signal });
    await using control = createControlClient(await readLogin(host));
    return await control.nodes({}, limit);
  } catch {
    return [];
  }
}
