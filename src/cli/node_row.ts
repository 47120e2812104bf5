import type { Node } from "../api/nodes.ts";

/** Scripts read these columns: their names, order and values stay. */
export const NODE_HEAD = [
  "NAME",
  "ID",
  "STATUS",
  "OS/ARCH",
  "TAGS",
  "ADDR",
  "REVOCATIONS",
] as const;

export const nodeRow = (node: Node): string[] => [
  node.name,
  node.id,
  node.online ? "online" : "offline",
  `${node.os}/${node.arch}`,
  node.tags.join(",") || "-",
  node.addr,
  // how well it knows what was revoked: a stale one takes no new connection
  node.revocations ? (node.revocations.stale ? "stale" : "ok") : "-",
];
