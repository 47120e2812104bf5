/** A passphrase from wherever its owner keeps it, and never from the command line, which others can read. */
import { OpenboxError } from "../errors.ts";
import { readStdinText, readTextFile } from "../home/text_file.ts";
import type { Host } from "../host.ts";
import { Secret } from "../secret.ts";
import { askHidden } from "./hidden_input.ts";

export interface PassphraseOptions {
  /** `--passphrase-file`; `-` is stdin. */
  readonly file: string | undefined;
  /** It is new: asked for twice. */
  readonly confirm: boolean;
}

const WHAT = "the passphrase";

/** The file's, else OPENBOX_CA_PASSPHRASE's, else asked for on the terminal, else what stdin holds. */
export async function readPassphrase(
  { file, confirm }: PassphraseOptions,
  host: Host,
): Promise<Secret> {
  const set = host.takeEnv("OPENBOX_CA_PASSPHRASE");
  if (file !== undefined && file !== "-") return lineOf(await readTextFile(file, WHAT));
  if (file === undefined && set !== undefined) return new Secret(set);
  if (file === "-" || !host.stdin.isTerminal()) return lineOf(await readStdinText(host, WHAT));
  const given = await askHidden("Passphrase of the CA: ", host);
  if (confirm && await askHidden("Again: ", host) !== given) {
    throw new OpenboxError("usage", "The two passphrases differ; nothing was changed");
  }
  return lineOf(given);
}

/** Without the newline that an editor or `echo` puts behind it. */
function lineOf(text: string): Secret {
  const line = text.replace(/\r?\n$/, "");
  if (line !== "") return new Secret(line);
  throw new OpenboxError("usage", "There is no passphrase in what was given", {
    hint: "--passphrase-file FILE, OPENBOX_CA_PASSPHRASE, stdin, or a terminal to ask on",
  });
}
