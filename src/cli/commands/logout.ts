import { readConfig } from "../../home/config.ts";
import { homePaths } from "../../home/paths.ts";
import type { Host } from "../../host.ts";
import { printJson, printLine } from "../output.ts";

/** Forgets the login on this machine: its token, key and pins. The token itself lives on until it ends. */
export async function logout(flags: { readonly json?: boolean }, host: Host): Promise<void> {
  const path = homePaths(host).config;
  const before = await readConfig(path); // refuses what is not ours, as every other command
  if (before) await Deno.remove(path);
  if (flags.json) return printJson({ server: before?.server ?? null }, host);
  await printLine(before ? `logged out of ${before.server}` : "was not logged in", host);
}
