/** The CA's keys: given, or made at the very first start and kept in the home. */
import { type CaKeys, formatCaKeys, generateCaKeys, parseCaKeys } from "../ca/keys.ts";
import { OpenboxError } from "../errors.ts";
import { createPrivateFile, readPrivateFile } from "../home/private_file.ts";
import { Secret } from "../secret.ts";
import { quoteWord } from "../shell_word.ts";
import type { ControlSettings } from "./settings.ts";

const MAX_BYTES = 16 * 1024;

/**
 * `firstStart`: nobody has been told of this control plane's CA yet. Later a missing file is refused:
 * new keys would make every node and client refuse this control plane, and hide that the old are lost.
 */
export async function loadCaKeys(
  source: ControlSettings["ca"],
  { firstStart }: { readonly firstStart: boolean },
): Promise<CaKeys> {
  if (source.kind === "text") return parseCaKeys(source.pem, "OPENBOX_CA_KEY");
  const { path } = source;
  const found = await readPrivateFile(path, { maxBytes: MAX_BYTES });
  if (found !== undefined) return parseCaKeys(new Secret(found), path);
  if (source.kind === "given" || !firstStart) throw missing(path, source.kind);
  const keys = generateCaKeys();
  if (await createPrivateFile(path, formatCaKeys(keys).reveal())) return keys;
  // another start was faster: its keys are the keys
  return await loadCaKeys(source, { firstStart: false });
}

function missing(path: string, kind: "home" | "given"): OpenboxError {
  const make = `(umask 077; openbox ca-keygen > ${quoteWord(path)})`;
  return kind === "given"
    ? new OpenboxError("bad_file", `There is no CA key ${path}`, { hint: `${make} makes one` })
    : new OpenboxError(
      "bad_file",
      `The CA key ${path} is gone; the nodes and clients of this control plane believe no other`,
      { hint: `restore it from a backup; or ${make}, log in again and enroll every node anew` },
    );
}
