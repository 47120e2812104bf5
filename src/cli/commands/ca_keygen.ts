import { caFingerprint, formatCaKeys, generateCaKeys } from "../../ca/keys.ts";
import { utf8 } from "../../bytes.ts";
import type { Host } from "../../host.ts";
import { printJson, printNote } from "../output.ts";

/** Prints a new pair of CA keys as one text, for `control --ca` or OPENBOX_CA_KEY. Keeps nothing. */
export async function caKeygen(flags: { readonly json?: boolean }, host: Host): Promise<void> {
  const keys = generateCaKeys();
  const pem = formatCaKeys(keys).reveal(), fingerprint = caFingerprint(keys);
  if (flags.json) return printJson({ ca_key: pem, ca_fingerprint: fingerprint }, host);
  await host.stdout.write(utf8(pem));
  await printNote(`CA fingerprint ${fingerprint}; keep the text secret`, host);
}
