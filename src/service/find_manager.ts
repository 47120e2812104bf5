/** The manager of services of this machine. */
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import { launchd } from "./launchd.ts";
import type { ServiceManager } from "./service.ts";
import { systemd } from "./systemd.ts";

/** Throws `not_supported` where there is none, or with `evenIfNotRunning` none that we know. */
export async function findManager(
  { env }: Pick<Host, "env">,
  { uid, evenIfNotRunning }: { readonly uid: number; readonly evenIfNotRunning: boolean },
): Promise<ServiceManager> {
  const userHome = env("HOME") ?? "/nonexistent";
  if (Deno.build.os === "darwin") return launchd({ userHome, uid });
  const userDirectory = `${env("XDG_CONFIG_HOME") ?? `${userHome}/.config`}/systemd/user`;
  // as sd_booted(3) asks
  const isBooted = await Deno.lstat("/run/systemd/system").then(() => true, () => false);
  if (isBooted || evenIfNotRunning) return systemd({ userDirectory, uid });
  throw new OpenboxError("not_supported", "This machine was not started by systemd", {
    hint: "openbox service install … --dry-run shows what another manager of services needs to do",
  });
}
