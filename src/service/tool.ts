/** Runs the commands of a manager of services, and only those. */
import { text } from "../bytes.ts";
import { abortReason } from "../abort.ts";
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import type { RunTool } from "./apply.ts";

const TOOLS = ["systemctl", "loginctl", "launchctl"];
/** What they find a user's manager by. */
const VARIABLES = ["HOME", "PATH", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

export const managerTool =
  ({ env }: Pick<Host, "env">, { uid }: { readonly uid: number }): RunTool =>
  async ([name, ...args], { signal }) => {
    if (!TOOLS.includes(name!)) throw new TypeError(`${name} is no manager of services`);
    const kept = VARIABLES.flatMap((variable) => {
      const value = env(variable);
      return value === undefined ? [] : [[variable, value]];
    });
    try {
      const { success, stdout, stderr } = await new Deno.Command(name!, {
        args,
        clearEnv: true,
        // unset after su and in cron, where the user's manager runs all the same
        env: { XDG_RUNTIME_DIR: `/run/user/${uid}`, ...Object.fromEntries(kept), LC_ALL: "C" },
        stdin: "null",
        signal,
      }).output();
      if (signal.aborted) throw abortReason(signal);
      return { success, stdout: text(stdout), stderr: text(stderr) };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new OpenboxError("not_supported", `There is no ${name} on this machine`, {
        hint: "openbox service install … --dry-run shows the files for another manager of services",
      });
    }
  };
