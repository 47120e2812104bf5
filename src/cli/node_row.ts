import type { Node } from "../api/nodes.ts";

/** Scripts read these columns: their names, order and values stay. */
export const NODE_HEAD = ["NAME", "ID", "STATUS", "OS/ARCH", "TAGS", "ADDR"] as const;

export const nodeRow = (node: Node): string[] => [
  node.name,
  node.id,
  node.online ? "online" : "offline",
  `${node.os}/${node.arch}`,
  node.tags.join(",") || "-",
  node.addr,
];
