/** The nodes of the user: heard from, reachable from here, and an SSH server at their port. */
import type { AbortOptions } from "../../abort.ts";
import { abortable, deadline } from "../../abort.ts";
import type { Node } from "../../api/nodes.ts";
import { OpenboxError, toOpenboxError } from "../../errors.ts";
import { dialNode } from "../../transport/dial_node.ts";
import { type Finding, ok, warning, wrong } from "./check.ts";

/** What came back at the address of a node, as text; rejects where nothing did. */
export type Greet = (addr: string, options: Required<AbortOptions>) => Promise<string>;

const AT_ONCE = 16, ANSWER_MS = 5000;

export async function checkNodes(
  nodes: readonly Node[],
  deps: { readonly greet: Greet; readonly now: number },
  options: Required<AbortOptions>,
): Promise<Finding[]> {
  if (nodes.length === 0) {
    return [warning("there are none yet", "openbox node token prints the command that makes one")];
  }
  const found: Finding[] = [], waiting = nodes.entries();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const [at, node] of waiting) found[at] = await checkNode(node, deps, options);
  }));
  return found;
}

async function checkNode(
  node: Node,
  { greet, now }: { readonly greet: Greet; readonly now: number },
  options: Required<AbortOptions>,
): Promise<Finding> {
  const { name, addr } = node;
  if (node.cloned) {
    return wrong(
      `${name}: two machines run as this node, one with a copied home of the agent`,
      "on the copy, remove the agent's home and enroll it with a token of its own: openbox node token",
    );
  }
  if (!node.online) {
    const last = node.last_seen === 0 ? "never" : `${age(now / 1000 - node.last_seen)} ago`;
    return warning(
      `${name} is offline, last heard ${last}`,
      `on ${name}: openbox service status agent, or openbox agent`,
    );
  }
  let greeting: string;
  try {
    greeting = await greet(addr, options);
  } catch (error) {
    options.signal.throwIfAborted();
    const { message } = toOpenboxError(error);
    return wrong(
      `${name} is online, but cannot be reached at ${addr} from here: ${message}`,
      `a firewall has to let port ${
        addr.replace(/.*:/, "")
      } through, or on ${name}: openbox agent --advertise HOST:PORT`,
    );
  }
  if (!greeting.startsWith("SSH-2.0-")) {
    return wrong(
      `${name}: what listens at ${addr} is no openbox agent`,
      `on ${name}: openbox agent --advertise HOST:PORT`,
    );
  }
  if (node.revocations?.stale) {
    return wrong(
      `${name} has not heard what was revoked, and takes no new connection`,
      `on ${name}: see its log for why the heartbeat fails`,
    );
  }
  return ok(`${name} at ${addr}`);
}

function age(seconds: number): string {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)} h`
    : `${Math.round(seconds / 86_400)} days`;
}

/** The first bytes that a server sends by itself, as SSH's do. */
export async function greet(addr: string, options: Required<AbortOptions>): Promise<string> {
  using limit = deadline(
    ANSWER_MS,
    () => new OpenboxError("node_timeout", `nothing came back within ${ANSWER_MS / 1000} s`),
    options,
  );
  const conn = await dialNode(addr, limit);
  try {
    return await abortable(
      new Promise<string>((resolve, reject) => {
        conn.once("data", (bytes) => resolve(bytes.toString("latin1")));
        conn.once("close", () => reject(new Error("it closed the connection without a word")));
      }),
      limit.signal,
    );
  } finally {
    conn.destroy();
  }
}
