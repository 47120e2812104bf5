/** `openbox node …`: one node at a time. A node is named by its id or, where that is unique, by its name. */
import { ENROLL_TTL_SECONDS, type EnrollTokenEntry } from "../../api/enroll.ts";
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
  readonly reusable?: string;
  readonly ephemeral?: string;
  readonly name?: string;
}

/** As long as a token may live, and an ephemeral node be silent. */
const MAX_MS = ENROLL_TTL_SECONDS.maxReusable * 1000;

/** Prints the command that makes a machine a node, good once, or as often as it is said, and for a while. */
export async function nodeToken(flags: NodeTokenFlags, host: Host): Promise<void> {
  const ttl = flags.ttl === undefined
    ? ENROLL_TTL_SECONDS.standard
    : Math.ceil(parseDuration(flags.ttl, "--ttl", MAX_MS) / 1000);
  const ephemeral = flags.ephemeral === undefined
    ? undefined
    : Math.ceil(parseDuration(flags.ephemeral, "--ephemeral", MAX_MS) / 1000);
  const reusable = flags.reusable === undefined ? 1 : readCount(flags.reusable);
  const login = await readLogin(host);
  await using control = openControl(login, host);
  const request = {
    tags: [...flags.tag ?? []],
    ttl_seconds: ttl,
    ...(reusable !== 1 && { reusable }),
    ...(ephemeral !== undefined && { ephemeral_seconds: ephemeral }),
    ...(flags.name !== undefined && { name: flags.name }),
  };
  const made = await control.createEnrollToken(request, { signal: host.signal });
  // the address by which we reach it; what the control plane thinks of itself may not be reachable
  const server = login.server.href;
  const insecure = isInsecure(login.server) ? " --insecure-http" : "";
  const command = `OPENBOX_ENROLL_TOKEN=${
    quoteWord(made.token)
  } openbox agent --server ${server}${insecure}`;
  if (flags.json) {
    const { id, token, expires_at, ca_fingerprint } = made;
    return printJson({ token, server, expires_at, ca_fingerprint, command, id: id ?? null }, host);
  }
  await printLine(command, host);
  const minutes = Math.max(1, Math.round((made.expires_at - host.clock.now() / 1000) / 60));
  const times = reusable === 1 ? "once" : `for ${reusable} machines`;
  await printNote(
    `run that on the new machine within ${formatDuration(minutes * 60_000)}; it works ${times}` +
      (login.tlsCa === undefined ? "" : "; add --tls-ca FILE with the certificate, there too"),
    host,
  );
}

function readCount(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new OpenboxError("usage", `--reusable ${JSON.stringify(text)} is not a count`, {
    hint: "how many nodes the token makes, such as 20",
  });
}

export interface NodeTokensFlags extends JsonFlag {
  readonly revoke?: string;
}

const TOKENS_HEAD = ["NAME", "ID", "LEFT", "TAGS", "EPHEMERAL", "ENDS"] as const;

/** The enrollment tokens that can still make a node, or the end of one. */
export async function nodeTokens(flags: NodeTokensFlags, host: Host): Promise<void> {
  const { signal } = host;
  await using control = openControl(await readLogin(host), host);
  if (flags.revoke !== undefined) {
    await control.deleteEnrollToken(flags.revoke, { signal });
    if (flags.json) return printJson({ id: flags.revoke }, host);
    return printLine(`revoked ${flags.revoke}`, host);
  }
  const tokens = await control.enrollTokens({ signal });
  if (flags.json) return printJson({ enroll_tokens: tokens }, host);
  await host.stdout.write(utf8(formatTable([TOKENS_HEAD, ...tokens.map(tokenRow)])));
  if (tokens.length === 0) await printNote("none waits to be used", host);
}

const tokenRow = (token: EnrollTokenEntry): string[] => [
  token.name ?? "-",
  token.id,
  `${token.uses_left} of ${token.uses}`,
  token.tags.join(",") || "-",
  token.ephemeral_seconds === null ? "-" : formatDuration(token.ephemeral_seconds * 1000),
  time(token.expires_at),
];

export async function nodeShow(flags: JsonFlag, host: Host, wanted: string): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  const node = await findNode(control, wanted, { signal: host.signal });
  if (flags.json) return printJson(node, host);
  const rows = nodeRow(node).map((value, i) => [NODE_HEAD[i]!.toLowerCase(), value]);
  rows.push(["created", time(node.created_at)], ["last seen", time(node.last_seen)]);
  if (node.ephemeral_seconds !== undefined) {
    rows.push([
      "ephemeral",
      `removed after ${formatDuration(node.ephemeral_seconds * 1000)} silent`,
    ]);
  }
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
