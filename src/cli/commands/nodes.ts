import type { Host } from "../../host.ts";
import { openControl, readLogin } from "../login.ts";
import { printJson, printNote, printWarning } from "../output.ts";
import { utf8 } from "../../bytes.ts";
import { NODE_HEAD, nodeRow } from "../node_row.ts";
import { formatTable } from "../table.ts";

export interface NodesFlags {
  readonly tag?: string;
  readonly json?: boolean;
}

export async function nodes(flags: NodesFlags, host: Host): Promise<void> {
  await using control = openControl(await readLogin(host), host);
  const found = await control.nodes({ tag: flags.tag }, { signal: host.signal });
  if (flags.json) return printJson({ nodes: found }, host);
  await host.stdout.write(utf8(formatTable([NODE_HEAD, ...found.map(nodeRow)])));
  for (const { name, id } of found.filter(({ cloned }) => cloned)) {
    await printWarning(
      `two machines run as the node ${name} (${id}), one with a copied home of the agent`,
      host,
    );
  }
  if (found.length > 0) return;
  await printNote(
    flags.tag === undefined
      ? "no nodes yet; openbox node token makes the command for one"
      : `no node has the tag ${flags.tag}; openbox nodes lists all`,
    host,
  );
}
