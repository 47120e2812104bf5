/** One command of the tree: what stricli reads of it, and how it is carried out. */
import {
  type BaseArgs,
  buildCommand,
  type Command,
  type CommandContext,
  type TypedCommandParameters,
} from "@stricli/core";
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import { errorDocument, printJson } from "./output.ts";

/** What a command finds as `this`, and where it leaves how it went. */
export interface Context extends CommandContext {
  readonly host: Host;
  readonly end: { code: number; failure?: unknown };
}

/** As stricli says it: an interface has no index signature. */
type Flags<FLAGS> = Readonly<Partial<Record<keyof FLAGS, unknown>>>;

export interface CommandSpec<FLAGS extends Flags<FLAGS>, ARGS extends BaseArgs> {
  readonly brief: string;
  /** Examples are lines that begin with two blanks. */
  readonly about?: string;
  readonly parameters: TypedCommandParameters<FLAGS, ARGS, Context>;
  /** It starts programs, as its purpose is: without it the process gives that up before anything else. */
  readonly startsPrograms?: true;
  load(): Promise<(flags: FLAGS, host: Host, ...args: ARGS) => Promise<number | void>>;
}

/** Stricli prints in its own way what a command throws; here it is carried to our one printer. */
export function command<FLAGS extends Flags<FLAGS>, ARGS extends BaseArgs = []>(
  { brief, about, parameters, startsPrograms, load }: CommandSpec<FLAGS, ARGS>,
): Command<Context> {
  async function act(this: Context, flags: FLAGS, ...args: ARGS): Promise<void> {
    if (!startsPrograms) this.host.dropPermissions();
    try {
      const action = await load();
      this.end.code = await action(flags, this.host, ...args) ?? 0;
    } catch (failure) {
      this.end.failure = failure;
      const { json } = flags as { json?: boolean };
      if (!json || !(failure instanceof OpenboxError)) return;
      await printJson({ error: errorDocument(failure) }, this.host).catch(() => {}); // said on stderr too
    }
  }
  return buildCommand<FLAGS, ARGS, Context>({
    func: act,
    parameters: parameters as never, // `NoInfer` of the same type, which TypeScript cannot see through here
    docs: { brief, fullDescription: about },
  });
}
