/** Identifiers and tokens (docs/protocol.md): made from the system's random source, never from a clock. */
const HEX = "0123456789abcdef";
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** `length` characters of `alphabet`, each equally likely: bytes past the last whole multiple are thrown away. */
function random(length: number, alphabet: string): string {
  const limit = 256 - 256 % alphabet.length;
  let out = "";
  while (out.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length))) {
      if (byte < limit && out.length < length) out += alphabet[byte % alphabet.length];
    }
  }
  return out;
}

export const newNodeId = (): string => `node_${random(16, HEX)}`;
export const newUserId = (): string => `usr_${random(12, HEX)}`;
export const newAccountId = (): string => `acc_${random(12, HEX)}`;
export const newTokenId = (): string => `tok_${random(12, HEX)}`;
export const newRuleId = (): string => `rul_${random(12, HEX)}`;
export const newRunId = (): string => `run_${random(16, HEX)}`;
export const newBootId = (): string => `boot_${random(16, HEX)}`;
export const newProcessId = (): string => `proc_${random(16, HEX)}`;
export const newRequestId = (): string => `req_${random(12, HEX)}`;

/** 40 characters of 62 are 238 bits, 32 are 190: both above the 160 that make a plain hash enough. */
export const newUserToken = (): string => `obx_${random(40, LETTERS)}`;
export const newNodeToken = (): string => `obn_${random(40, LETTERS)}`;
/** The secret part of `enroll_<secret>.<fingerprint>` (ca/enroll_proof.ts). */
export const newEnrollSecret = (): string => random(32, LETTERS);

export const isNodeId = (id: string): boolean => /^node_[0-9a-f]{16}$/.test(id);
