import type { Host } from "../../host.ts";
import { VERSION } from "../../version.ts";
import { printJson, printLine } from "../output.ts";

export async function version(flags: { readonly json?: boolean }, host: Host): Promise<void> {
  if (flags.json) return printJson({ version: VERSION, deno: Deno.version.deno }, host);
  await printLine(`openbox ${VERSION}`, host);
}
