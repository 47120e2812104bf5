/** `openbox node …`: one node at a time. A node is named by its id or, where that is unique, by its name. */
import { ENROLL_TTL_SECONDS } from "../../api/enroll.ts";
import type { Node } from "../../api/nodes.ts";
import { findNode } from "../../client/find_node.ts";
import { isInsecure } from "../../client/server_url.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { quoteWord } from "../../shell_word.ts";
import { formatDuration, parseDuration } from "../duration.ts";
import { openControl, readLogin } from "../login.ts";
import { utf8 } from "../../bytes.ts";
import { NODE_HEAD, nodeRow } from "../node_row.ts";
import { printJson, printLine, printNote } from "../output.ts";
import { formatTable } from "../table.ts";

interface JsonFlag {
  readonly json?: boolean;
}

export interface NodeTokenFlags extends JsonFlag {
  readonly tag?: readonly string[];
  readonly ttl?: string;
}

/** Prints the command that makes a machine a node, good once and for a while. */
export async function nodeToken(flags: NodeTokenFlags, host: Host): Promise<void> {
  const ttl = flags.ttl === undefined
    ? ENROLL_TTL_SECONDS.standard
    : Math.ceil(parseDuration(flags.ttl, "--ttl") / 1000);
  const login = await readLogin(host);
  await using control = openControl(login, host);
  const request = { tags: flags.tag ?? [], ttl_seconds: ttl };
  const made = await control.createEnrollToken(request, { signal: host.signal });
  // the address by which we reach it; what the control plane thinks of itself may not be reachable
  const server = login.server.href;
  const insecure = isInsecure(login.server) ? " --insecure-http" : "";
  const command = `OPENBOX_ENROLL_TOKEN=${
    quoteWord(made.token)
  } openbox agent --server ${server}${insecure}`;
  if (flags.json) {
    const { token, expires_at, ca_fingerprint } = made;
    return printJson({ token, server, expires_at, ca_fingerprint, command }, host);
  }
  await printLine(command, host);
  const minutes = Math.max(1, Math.round((made.expires_at - host.clock.now() / 1000) / 60));
  await printNote(
    `run that on the new machine within ${formatDuration(minutes * 60_000)}; it works once` +
      (login.tlsCa === undefined ? "" : "; add --tls-ca FILE with the certificate, there too"),
    host,
  );
}

export async function nodeShow(flags: JsonFlag, host: Host, wanted: string): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  const node = await findNode(control, wanted, { signal: host.signal });
  if (flags.json) return printJson(node, host);
  const rows = nodeRow(node).map((value, i) => [NODE_HEAD[i]!.toLowerCase(), value]);
  rows.push(["created", time(node.created_at)], ["last seen", time(node.last_seen)]);
  await host.stdout.write(utf8(formatTable(rows)));
}

/** Epoch seconds, 0 for never. */
const time = (seconds: number): string =>
  seconds === 0 ? "never" : new Date(seconds * 1000).toISOString().replace(".000", "");

export function nodeRename(
  flags: JsonFlag,
  host: Host,
  wanted: string,
  name: string,
): Promise<void> {
  return change(flags, host, wanted, (node) => ({ name, tags: node.tags }));
}

export interface NodeTagFlags extends JsonFlag {
  readonly rm?: readonly string[];
}

/** Adds the tags named and takes away those of `--rm`. */
export function nodeTag(
  flags: NodeTagFlags,
  host: Host,
  wanted: string,
  ...add: string[]
): Promise<void> {
  const remove = flags.rm ?? [];
  if (add.length === 0 && remove.length === 0) {
    throw new OpenboxError("usage", "openbox node tag says no tag", {
      hint: `openbox node tag ${quoteWord(wanted)} TAG…, or --rm TAG`,
    });
  }
  return change(flags, host, wanted, ({ name, tags }) => ({
    name,
    tags: [...new Set([...tags, ...add])].filter((tag) => !remove.includes(tag)),
  }));
}

async function change(
  flags: JsonFlag,
  host: Host,
  wanted: string,
  wish: (node: Node) => { name: string; tags: string[] },
): Promise<void> {
  const { signal } = host;
  await using control = openControl(await readLogin(host), host);
  const node = await findNode(control, wanted, { signal });
  const changed = await control.updateNode(node.id, wish(node), { signal });
  if (flags.json) return printJson(changed, host);
  await host.stdout.write(utf8(formatTable([NODE_HEAD, nodeRow(changed)])));
}

/** The node's agent is told at its next heartbeat, and ends. */
export async function nodeRemove(flags: JsonFlag, host: Host, wanted: string): Promise<void> {
  const { signal } = host;
  await using control = openControl(await readLogin(host), host);
  const node = await findNode(control, wanted, { signal });
  await control.deleteNode(node.id, { signal });
  if (flags.json) return printJson({ id: node.id, name: node.name }, host);
  await printLine(`removed ${node.name} (${node.id})`, host);
}
