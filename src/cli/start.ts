/** From the command line to an exit code. Everything that takes time to load is loaded once it is known to be needed. */
import type { Host } from "../host.ts";
import { failed } from "./failed.ts";
import { splitCommandLine } from "./splitter.ts";

/** Never throws: what went wrong is printed and becomes the exit code. */
export async function run(host: Host): Promise<number> {
  try {
    if (host.args[0] === "__complete") {
      host.dropPermissions();
      return await (await import("./complete.ts")).complete(host.args.slice(1), host);
    }
    const line = splitCommandLine(host.args);
    if (line.kind === "run") {
      const { runOnNode } = await import("./commands/run.ts");
      return await runOnNode(line, host);
    }
    const { runTree } = await import("./run_tree.ts");
    return await runTree(line.args, host);
  } catch (error) {
    return await failed(error, host);
  }
}
