/**
 * The executable. A command for a node that a running daemon takes is carried out by what is imported
 * here, which is little and holds no library; everything else is loaded once it is known to be needed.
 * Nothing but plain values goes from the one to the other: in the built program they share no module.
 */
import { runThroughDaemon } from "./src/cli/hot_path.ts";

const hot = await runThroughDaemon(Deno.args);
Deno.exit(
  hot.code ?? await (await import("./src/cli/process.ts")).main(hot.release),
);
