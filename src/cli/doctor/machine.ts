/** What the doctor asks of this machine. */
import { access, constants } from "node:fs/promises";
import type { AbortOptions } from "../../abort.ts";
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { serviceStatus } from "../../service/apply.ts";
import { findManager } from "../../service/find_manager.ts";
import type { Scope, ServiceManager } from "../../service/service.ts";
import { SERVICES } from "../../service/service.ts";
import { managerTool } from "../../service/tool.ts";
import type { SeenService } from "./service.ts";

export const isWritable = (path: string): Promise<boolean> =>
  access(path, constants.W_OK).then(() => true, () => false);

/** Undefined where no manager of services runs. */
export async function seeServices(
  host: Host,
  uid: number,
  options: Required<AbortOptions>,
): Promise<SeenService[] | undefined> {
  let manager: ServiceManager;
  try {
    manager = await findManager(host, { uid, evenIfNotRunning: false });
  } catch (error) {
    if (error instanceof OpenboxError && error.code === "not_supported") return undefined;
    throw error;
  }
  const deps = { manager, run: managerTool(host, { uid }), clock: host.clock };
  const seen: SeenService[] = [];
  for (const service of SERVICES) {
    const scopes: Scope[] = service === "daemon" ? ["user"] : ["system", "user"];
    for (const scope of scopes) {
      const placed = { service, scope }, status = await serviceStatus(placed, deps, options);
      const texts = manager.paths(placed).map((path) => Deno.readTextFile(path).catch(() => ""));
      const program = startedProgram((await Promise.all(texts)).join("\n"));
      const isThere = program === undefined ||
        await Deno.stat(program).then(() => true, () => false);
      seen.push({
        ...status,
        missingProgram: isThere ? undefined : program,
        logCommand: manager.logCommand(placed),
      });
    }
  }
  return seen;
}

/** The path that a unit or plist starts; undefined where it is written in a way that is not ours. */
export function startedProgram(text: string): string | undefined {
  const unit = /^ExecStart=(?:"((?:[^"\\]|\\.)*)"|(\/\S+))/m.exec(text);
  if (unit) return (unit[1]?.replace(/\\(.)/g, "$1") ?? unit[2])?.replaceAll("%%", "%");
  const plist = /<key>ProgramArguments<\/key>\s*<array>\s*<string>([^<]*)<\/string>/.exec(text);
  return plist?.[1]?.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
}
