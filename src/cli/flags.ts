/** The kinds of flags and arguments that our commands have, in the shapes that stricli reads. */
import { OpenboxError } from "../errors.ts";
import type { Context } from "./command.ts";

/** `--tag ''` is an unset variable in a script more often than a wish. */
function nonEmpty(value: string): string {
  if (value === "") throw new OpenboxError("usage", "it is empty");
  return value;
}

type Propose = (this: Context, partial: string) => Promise<readonly string[]>;
interface Proposals {
  readonly proposeCompletions?: Propose;
}

export const textFlag = (placeholder: string, brief: string, proposals: Proposals = {}) =>
  ({ kind: "parsed", parse: nonEmpty, optional: true, placeholder, brief, ...proposals }) as const;

export const listFlag = (placeholder: string, brief: string, proposals: Proposals = {}) =>
  ({ ...textFlag(placeholder, brief, proposals), variadic: true }) as const;

export const switchFlag = (brief: string) => ({ kind: "boolean", optional: true, brief }) as const;

export const argument = (placeholder: string, brief: string, proposals: Proposals = {}) =>
  ({ parse: nonEmpty, placeholder, brief, ...proposals }) as const;

export interface JsonFlags {
  readonly json?: boolean;
}
export const JSON_FLAG = switchFlag("One JSON document instead of text");
