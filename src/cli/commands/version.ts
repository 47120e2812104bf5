import type { Host } from "../../host.ts";
import { BUILD, VERSION } from "../../version.ts";
import { printJson, printLine } from "../output.ts";

export async function version(flags: { readonly json?: boolean }, host: Host): Promise<void> {
  if (flags.json) {
    const { commit, form } = BUILD;
    return printJson({ version: VERSION, commit, deno: Deno.version.deno, build: form }, host);
  }
  await printLine(`openbox ${VERSION}`, host);
}
