/**
 * The JSON files that openbox writes for itself. What is not ours in every part is refused by name and
 * left as it is: the Go program's file, a newer version's, one that an editor damaged.
 */
import * as v from "valibot";
import { OpenboxError } from "../errors.ts";
import { quoteWord } from "../shell_word.ts";
import { readPrivateFile } from "./private_file.ts";

export interface KeptJson<SCHEMA extends v.GenericSchema> {
  readonly schema: SCHEMA;
  /** The number in its `version`. */
  readonly version: number;
  /** What the file is, such as `a login`. */
  readonly what: string;
  /** A key that the Go program's file of this name has; it has no `version`. */
  readonly goKey: string;
  /** What to do once the file is out of the way, such as `openbox login`. */
  readonly remedy: string;
  /** 1 MiB unless said. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 1024 * 1024;

/** Undefined where there is none. Throws `unsafe_file` or `bad_file` with the way out. */
export async function readKeptJson<SCHEMA extends v.GenericSchema>(
  path: string,
  kind: KeptJson<SCHEMA>,
): Promise<v.InferOutput<SCHEMA> | undefined> {
  const text = await readPrivateFile(path, { maxBytes: kind.maxBytes ?? MAX_BYTES });
  if (text === undefined) return undefined;
  const refuse = (why: string) => unusable(path, why, kind);
  if (text.startsWith("\ufeff")) throw refuse("it begins with a byte order mark (an editor's)");
  if (text.includes("\r")) throw refuse("its lines end with CR LF (an editor's)");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw refuse(text.trim() === "" ? "it is empty" : "it is not JSON, or only a part of it");
  }
  const { version, [kind.goKey]: go } = (json ?? {}) as Record<string, unknown>;
  if (typeof version === "number" && version > kind.version) {
    throw refuse(`a newer openbox wrote it (version ${version})`);
  }
  if (version === undefined && go !== undefined) {
    throw refuse("the openbox that was written in Go made it");
  }
  const parsed = v.safeParse(kind.schema, json);
  if (parsed.success) return parsed.output;
  const at = v.getDotPath(parsed.issues[0]);
  throw refuse(`it is not ${kind.what}${at ? ` (${at})` : ""}`);
}

/** For what a reader finds wrong beyond the schema, too. */
export const unusable = (
  path: string,
  why: string,
  { remedy }: Pick<KeptJson<v.GenericSchema>, "remedy">,
  cause?: unknown,
): OpenboxError =>
  new OpenboxError("bad_file", `Cannot use ${path}: ${why}`, {
    hint: `mv ${quoteWord(path)} ${quoteWord(`${path}.old`)}, then ${remedy}`,
    cause,
  });
