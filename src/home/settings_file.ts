/** `settings.toml`: what a person wants of the CLI and its daemon on this machine. */
import { parse, TomlError } from "smol-toml";
import * as v from "valibot";
import { OpenboxError } from "../errors.ts";
import { readTrustedFile } from "./private_file.ts";

const MAX_BYTES = 64 * 1024;

const SettingsFile = v.strictObject({
  /** `auto`: the first command starts one; `never`: none is started or used. */
  daemon: v.optional(v.picklist(["auto", "never"]), "auto"),
});
export type Settings = v.InferOutput<typeof SettingsFile>;

/** The defaults where there is no file. Throws `unsafe_file`, `bad_file` or `bad_setting`. */
export async function readSettings(path: string): Promise<Settings> {
  const text = await readTrustedFile(path, { maxBytes: MAX_BYTES });
  const read = v.safeParse(SettingsFile, text === undefined ? {} : parseToml(text, path));
  if (read.success) return read.output;
  const [issue] = read.issues;
  throw new OpenboxError(
    "bad_setting",
    `${path}: ${v.getDotPath(issue) ?? "it"}: ${issue.message}`,
    { hint: 'daemon = "auto" or "never" is what can be set' },
  );
}

function parseToml(text: string, path: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [why] = error.message.split("\n");
    throw new OpenboxError("bad_setting", `${path}:${error.line}: ${why}`, { cause: error });
  }
}
