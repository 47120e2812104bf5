/** What could stand next on a command line, for the shells' completion. The last word is the one being typed. */
import { proposeCompletions } from "@stricli/core";
import { utf8 } from "../bytes.ts";
import type { Host } from "../host.ts";
import { nodeNames, tagNames } from "./propose.ts";
import { RUN_FLAGS, type RunFlag } from "./run_flags.ts";
import { readFlags } from "./splitter.ts";
import { application, collecting, type Context } from "./tree.ts";

interface Proposal {
  readonly completion: string;
  readonly brief: string;
}

export async function complete(words: readonly string[], host: Host): Promise<number> {
  const { context } = collecting(host);
  const found = await proposals(words, context);
  const lines = found.map(({ completion, brief }) => `${completion}\t${brief}\n`);
  await host.stdout.write(utf8(lines.join("")));
  return 0;
}

async function proposals(words: readonly string[], context: Context): Promise<readonly Proposal[]> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(words[0] === "run" ? 1 : 0, -1);
  const asRun = readsAsRun(before);
  if (words[0] === "run" || before.length > 0) {
    if (asRun === "words") return []; // the command's own words: the shell proposes files
    if (asRun !== undefined) return await valueOrFlag(asRun, typed, context);
  }
  const found = await proposeCompletions(application, words, context);
  return words.length > 1 ? found : [...found, ...flagsFrom(typed)];
}

/** What follows flags of `run`: the value of the last one, or a flag or word. Undefined where they are none. */
function readsAsRun(before: readonly string[]): RunFlag | "flag" | "words" | undefined {
  const last = before.at(-1);
  const open = RUN_FLAGS.find((flag) =>
    flag.value && (last === `--${flag.name}` || last === `-${flag.short}`)
  );
  try {
    const { end } = readFlags(open ? before.slice(0, -1) : before);
    if (end === "nothing") return open ?? "flag";
    if (end === "dashes") return "words";
    return before[0]?.startsWith("-") ? "words" : undefined;
  } catch {
    return undefined;
  }
}

async function valueOrFlag(
  what: RunFlag | "flag",
  typed: string,
  context: Context,
): Promise<readonly Proposal[]> {
  if (what === "flag") return flagsFrom(typed);
  const propose = what.name === "tag" ? tagNames : what.name === "node" ? nodeNames : undefined;
  const names = await propose?.call(context, typed) ?? [];
  return names.map((completion) => ({ completion, brief: what.brief }));
}

const flagsFrom = (typed: string): Proposal[] =>
  typed.startsWith("-")
    ? RUN_FLAGS.map((flag) => ({ completion: `--${flag.name}`, brief: flag.brief }))
      .filter(({ completion }) => completion.startsWith(typed))
    : [];
