import { OpenboxError } from "../errors.ts";
import { parseAuthorizedLine, type PublicKey } from "../ssh/key.ts";

/** The ed25519 key of a line that came from outside. Throws `bad_public_key`, for certificates too. */
export function parseKeyLine(line: string): PublicKey {
  try {
    return parseAuthorizedLine(line);
  } catch (cause) {
    throw new OpenboxError(
      "bad_public_key",
      `Not an ed25519 public key: ${(cause as Error).message}`,
      { hint: "ssh-keygen -t ed25519 makes one; the line begins with ssh-ed25519", cause },
    );
  }
}
