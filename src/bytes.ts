/** Bytes to text and back, on the web's own primitives: the hot path imports no node: module. */
const encoder = new TextEncoder();

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text);

/** Text of `bytes`; invalid UTF-8 becomes U+FFFD. For what people read, never for what a command wrote. */
export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Constant in time for equal lengths; the length itself is not secret. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

/** Standard base64; `toBase64Url` is the form without padding for tokens and URLs (RFC 4648 §5). */
export const toBase64 = (bytes: Uint8Array): string => bytes.toBase64();
export const toBase64Url = (bytes: Uint8Array): string =>
  bytes.toBase64({ alphabet: "base64url", omitPadding: true });

/** Undefined where `encoded` is not canonical standard base64. */
export function fromBase64(encoded: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.fromBase64(encoded, { lastChunkHandling: "strict" });
  } catch {
    return undefined;
  }
}

export function fromBase64Url(encoded: string): Uint8Array<ArrayBuffer> | undefined {
  if (encoded.includes("=")) return undefined;
  try {
    return Uint8Array.fromBase64(encoded, { alphabet: "base64url" });
  } catch {
    return undefined;
  }
}

/** Where `wanted` begins in `bytes`; -1 where it is not. */
export function findBytes(bytes: Uint8Array, wanted: Uint8Array): number {
  for (let at = bytes.indexOf(wanted[0]!); at >= 0; at = bytes.indexOf(wanted[0]!, at + 1)) {
    if (at + wanted.length > bytes.length) return -1;
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}
