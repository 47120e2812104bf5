/** What the Go program has and this version does not yet: refused in one place, so that nothing is half done. */
import { OpenboxError } from "../errors.ts";

const COMMANDS = ["skill", "node add"];

/** Throws `not_supported` where `args` ask for it. */
export function refuseLater(args: readonly string[]): void {
  const asked =
    COMMANDS.find((command) => command.split(" ").every((word, i) => args[i] === word)) ??
      args.find((arg) => arg.startsWith("--mesh"))?.replace(/=.*$/s, "");
  if (asked !== undefined) throw notYet(asked.startsWith("-") ? asked : `openbox ${asked}`);
}

export const notYet = (what: string): OpenboxError =>
  new OpenboxError("not_supported", `${what}: not in this version of openbox`, {
    hint: "openbox help shows what is",
  });
