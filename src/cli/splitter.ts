/**
 * Decides what a command line is: a command of openbox, for the tree, or words for a node, which are
 * taken verbatim from the first word on, as ssh(1) does. Only a line that says where it runs, or `--`,
 * is for a node, so that a mistyped command of openbox never runs anywhere.
 */
import { OpenboxError } from "../errors.ts";
import { closest } from "./closest.ts";
import { RUN_FLAGS, type RunFlag, type RunFlagName, type RunFlagValues } from "./run_flags.ts";

export type CommandLine =
  | { readonly kind: "run"; readonly flags: RunFlagValues; readonly words: readonly string[] }
  | { readonly kind: "tree"; readonly args: readonly string[] };

const RUN = "run";
const RUN_HELP: CommandLine = { kind: "tree", args: [RUN, "--help"] };

/** Throws `usage` where a flag of `run` is unknown, lacks its value or is given twice. */
export function splitCommandLine(args: readonly string[]): CommandLine {
  const named = args[0] === RUN;
  const { flags, rest, end } = readFlags(named ? args.slice(1) : args);
  const targeted = named || end === "dashes" ||
    RUN_FLAGS.some((flag) => flag.target && flags.has(flag.name));
  if (end === "unknown") {
    const unknown = rest[0]!;
    if (targeted && isHelp(unknown)) return RUN_HELP;
    if (targeted) throw unknownFlag(unknown);
  }
  if (targeted) return { kind: "run", flags, words: rest };
  if (flags.size === 0) return { kind: "tree", args };
  throw new OpenboxError("usage", `${args[0]} stands before a command that says no node`, {
    hint:
      "openbox -t TAG COMMAND… runs on a node; a command of openbox comes first, its flags after it",
  });
}

const isHelp = (arg: string): boolean => arg === "-h" || arg === "--help";

export interface FlagsRead {
  readonly flags: RunFlagValues;
  /** What follows the flags; begins with the flag that is unknown, where there is one. */
  readonly rest: readonly string[];
  readonly end: "word" | "dashes" | "unknown" | "nothing";
}

/** Reads flags of `run` up to the first word, `--`, or a flag that is none of them. */
export function readFlags(args: readonly string[]): FlagsRead {
  const flags = new Map<RunFlagName, string[]>();
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    if (arg === "--") return { flags, rest: args.slice(at + 1), end: "dashes" };
    if (arg === "-" || !arg.startsWith("-")) return { flags, rest: args.slice(at), end: "word" };
    const { flag, shown, attached } = findFlag(arg);
    if (!flag) return { flags, rest: args.slice(at), end: "unknown" };
    if (!flag.value && attached !== undefined) throw usage(`${shown} takes no value`);
    const value = flag.value ? attached ?? args[++at] : "";
    if (value === undefined) throw usage(`${shown} needs a value: ${shown} ${flag.value}`);
    if (flag.value && value === "") throw usage(`${shown} needs a value that is not empty`);
    if (flags.has(flag.name) && !flag.repeat) throw usage(`${shown} is given twice`);
    flags.set(flag.name, [...flags.get(flag.name) ?? [], value]);
  }
  return { flags, rest: [], end: "nothing" };
}

/** The forms are `--name VALUE`, `--name=VALUE`, `-x VALUE`, `-xVALUE` and, as the Go program took it, `-x=VALUE`. */
function findFlag(arg: string): { flag?: RunFlag; shown: string; attached?: string } {
  if (arg.startsWith("--")) {
    const equals = arg.indexOf("=");
    const name = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
    return {
      flag: RUN_FLAGS.find((flag) => flag.name === name),
      shown: `--${name}`,
      attached: equals < 0 ? undefined : arg.slice(equals + 1),
    };
  }
  const attached = arg.length > 2 ? arg.slice(arg[2] === "=" ? 3 : 2) : undefined;
  return {
    flag: RUN_FLAGS.find((flag) => flag.short === arg[1]),
    shown: arg.slice(0, 2),
    attached,
  };
}

const usage = (message: string) =>
  new OpenboxError("usage", message, { hint: "openbox run --help" });

function unknownFlag(arg: string): OpenboxError {
  const name = arg.replace(/=.*$/s, "");
  const near = closest(name, RUN_FLAGS.map((flag) => `--${flag.name}`));
  return new OpenboxError("usage", `openbox run has no flag ${name}`, {
    hint: near ? `did you mean ${near}?` : "openbox run --help; -- ends the flags of openbox",
  });
}
