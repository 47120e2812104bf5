import { type CaPin, parseCaAnswer, parseFingerprint } from "../client/trust.ts";
import type { Login } from "./login.ts";

export function caPin({ caFingerprint, stored }: Login): CaPin {
  if (caFingerprint !== undefined) {
    const fingerprint = parseFingerprint(caFingerprint, "OPENBOX_CA_FINGERPRINT");
    return { kind: "fingerprint", fingerprint };
  }
  return stored ? { kind: "keys", keys: parseCaAnswer(stored) } : { kind: "none" };
}
