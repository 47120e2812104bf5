/** Finds the command of the tree that a line names, and runs it; help and usage errors are told in our words. */
import {
  type Application,
  buildApplication,
  ExitCode,
  run,
  type StricliIntegration,
} from "@stricli/core";
import { utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import { usesColor } from "./color.ts";
import type { Context } from "./command.ts";
import { formatHelp } from "./help.ts";
import { refuseLater } from "./later.ts";
import { root } from "./tree.ts";
import { USAGE_TEXTS } from "./usage.ts";

const helpFlag: StricliIntegration<Context> = {
  flag: {
    aliases: ["h"],
    brief: "Show this help",
    global: true,
    complete: true,
    defaultForRouteMap: true,
    run(_app, { result }) {
      const { host } = this as unknown as Context; // the context that runTree gave
      const style = { columns: host.stdout.size()?.cols, color: usesColor(host.stdout, host) };
      this.process.stdout.write(formatHelp(result.target, result.prefix, style));
    },
  },
};

export const application: Application<Context> = buildApplication<Context>(root, {
  name: "openbox",
  scanner: { caseStyle: "allow-kebab-for-camel", allowArgumentEscapeSequence: true },
  documentation: { disableAnsiColor: true },
  localization: { text: USAGE_TEXTS },
}, { help: helpFlag });

/** Runs a command of openbox; throws what went wrong with it, usage included. */
export async function runTree(args: readonly string[], host: Host): Promise<number> {
  refuseLater(args);
  if (args[0] === "--version") return runTree(["version"], host);
  if (args[0] === "help") return runTree([...args.slice(1), "--help"], host);
  const { context, printed } = collecting(host);
  await run(application, args, context);
  const { exitCode } = context.process;
  if (exitCode === ExitCode.UnknownCommand || exitCode === ExitCode.InvalidArgument) {
    const known = commandOf(args);
    throw new OpenboxError("usage", printed.stderr.trim().replaceAll("\n", "; "), {
      hint: known === ""
        ? "openbox help lists them; openbox -t TAG COMMAND… runs one on a node"
        : `openbox help${known}`,
    });
  }
  if (exitCode) throw new Error(printed.stderr.trim() || `stricli ended with ${exitCode}`);
  if (context.end.failure !== undefined) throw context.end.failure;
  await host.stdout.write(utf8(printed.stdout));
  return context.end.code;
}

/** Stricli writes without waiting, so what it has to say is kept until somebody can wait for it. */
export function collecting(host: Host) {
  const printed = { stdout: "", stderr: "" };
  const process = {
    stdout: { write: (text: string) => void (printed.stdout += text) },
    stderr: { write: (text: string) => void (printed.stderr += text) },
    exitCode: undefined as number | string | null | undefined,
  };
  return { context: { process, host, end: { code: 0 } as Context["end"] }, printed };
}

/** The words of `args` that name a command, with a blank before. */
function commandOf(args: readonly string[]): string {
  const [first, second] = args;
  const target = first && root.getRoutingTargetForInput(first);
  if (!target) return "";
  const inner = second && "getRoutingTargetForInput" in target &&
    target.getRoutingTargetForInput(second);
  return inner ? ` ${first} ${second}` : ` ${first}`;
}
