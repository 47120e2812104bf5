/** What could stand next on a command line, for the shells' completion. The last word is the one being typed. */
import { proposeCompletions } from "@stricli/core";
import { utf8 } from "../bytes.ts";
import { NETS } from "../isolation/confinement.ts";
import type { Host } from "../host.ts";
import { nodeNames, sessionNames, tagNames } from "./propose.ts";
import { RUN_FLAGS, type RunFlag, type RunFlagName, type RunFlagValues } from "./run_flags.ts";
import { readFlags } from "./splitter.ts";
import type { Context } from "./command.ts";
import { application, collecting } from "./run_tree.ts";

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
  const named = words[0] === "run" && words.length > 1;
  const before = words.slice(named ? 1 : 0, -1);
  if (!named && !before[0]?.startsWith("-")) {
    const commands = await proposeCompletions(application, words, context);
    return words.length > 1 ? commands : [...commands, ...flags(typed, new Map())];
  }
  const last = before.at(-1);
  const open = RUN_FLAGS.find((flag) =>
    flag.value && (last === `--${flag.name}` || last === `-${flag.short}`)
  );
  const given = flagsOnly(open ? before.slice(0, -1) : before);
  if (!given) return []; // the remote command's own words: the shell proposes files
  return open ? await values(open, typed, context) : flags(typed, given);
}

/** The flags in `words`, undefined where there is more than that. */
function flagsOnly(words: readonly string[]): RunFlagValues | undefined {
  try {
    const { flags, end } = readFlags(words);
    return end === "nothing" ? flags : undefined;
  } catch {
    return undefined;
  }
}

async function values(flag: RunFlag, typed: string, context: Context): Promise<Proposal[]> {
  const names = await PROPOSALS[flag.name]?.call(context, typed) ?? [];
  return names.map((completion) => ({ completion, brief: flag.brief }));
}

const fixed = (...names: string[]): typeof tagNames => (typed) =>
  Promise.resolve(names.filter((name) => name.startsWith(typed)));

const PROPOSALS: Partial<Record<RunFlagName, typeof tagNames>> = {
  net: fixed(...NETS.docker),
  gpus: fixed("all"),
  tag: tagNames,
  node: nodeNames,
  session: sessionNames,
};

function flags(typed: string, given: RunFlagValues): Proposal[] {
  if (!typed.startsWith("-")) return [];
  return RUN_FLAGS.filter((flag) => flag.repeat || !given.has(flag.name))
    .map((flag) => ({ completion: `--${flag.name}`, brief: flag.brief }))
    .filter(({ completion }) => completion.startsWith(typed));
}
