/**
 * Which CA keys are believed, and how that changes. A change is a statement that a key signs which is
 * trusted already: whoever has pinned one pair of keys can follow a rotation from there, alone and years
 * later, and nobody can lead them elsewhere. The two kinds have nothing to do with each other.
 */
import { concat, equalBytes, fromBase64Url, text, toBase64Url, utf8 } from "../bytes.ts";
import {
  authorizedLine,
  fingerprint,
  parseAuthorizedLine,
  type PrivateKey,
  type PublicKey,
  signBytes,
  verifyBytes,
} from "../ssh/key.ts";
import type { CaPublicKeys } from "./keys.ts";

export type CaKind = keyof CaPublicKeys;
export const CA_KINDS: readonly CaKind[] = ["host", "user"];

export interface TrustedKeys {
  /** Never empty. The first is the one of now, those after it are to follow it. */
  readonly keys: readonly PublicKey[];
  /** The number of the newest statement that was followed: none up to it is taken again. 0 for none. */
  readonly seq: number;
}

export type CaTrust = Readonly<Record<CaKind, TrustedKeys>>;

/** Before a statement was followed: a pair, as logins and enrollment tokens pin it. */
export const trustPair = ({ host, user }: CaPublicKeys): CaTrust => ({
  host: { keys: [host], seq: 0 },
  user: { keys: [user], seq: 0 },
});

/** The keys of now, of which `caFingerprint` is made. */
export const currentPair = ({ host, user }: CaTrust): CaPublicKeys => ({
  host: host.keys[0]!,
  user: user.keys[0]!,
});

/** One hash over the keys, in their order: how a node says what it trusts. */
export const keysFingerprint = (keys: readonly PublicKey[]): string =>
  fingerprint(...keys.map(({ blob }) => blob));

export const includesKey = (keys: readonly PublicKey[], key: PublicKey): boolean =>
  keys.some(({ blob }) => equalBytes(blob, key.blob));

/** From which keys to which; the number grows with each change of its kind. */
export interface CaChange {
  readonly kind: CaKind;
  readonly seq: number;
  readonly from: readonly PublicKey[];
  readonly to: readonly PublicKey[];
  /** Epoch milliseconds. */
  readonly at: number;
}

/** What is signed: the domain, NUL, the payload. */
const DOMAIN = "openbox-ca-rotation-v1\0";
const FORM = /^([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{86})$/;
/** Two in a rotation; a third where one in progress is cut short. */
const MAX_KEYS = 3;

/** The statement as it travels: payload and signature in base64url, a dot between. */
export function signCaChange(change: CaChange, signer: PrivateKey): string {
  if (!includesKey(change.from, signer)) throw new TypeError("only a trusted key changes trust");
  const { kind, seq, from, to, at } = change;
  const payload = utf8(JSON.stringify({
    kind,
    seq,
    from: from.map((key) => authorizedLine(key)),
    to: to.map((key) => authorizedLine(key)),
    at,
  }));
  return formatStatement(payload, signBytes(signedBytes(payload), signer));
}

const formatStatement = (payload: Uint8Array, signature: Uint8Array): string =>
  `${toBase64Url(payload)}.${toBase64Url(signature)}`;

const signedBytes = (payload: Uint8Array): Uint8Array => concat([utf8(DOMAIN), payload]);

/** A statement as read. Nothing in it is believed: `followCa` decides. */
export interface ReadStatement {
  readonly change: CaChange;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** Undefined for what has not the form. */
export function readCaStatement(statement: string): ReadStatement | undefined {
  const [, first, second] = FORM.exec(statement) ?? [];
  const payload = first && fromBase64Url(first), signature = second && fromBase64Url(second);
  // in one form only: spare bits of base64 would make several texts of one statement
  if (!payload || !signature || formatStatement(payload, signature) !== statement) return undefined;
  try {
    const { kind, seq, from, to, at } = JSON.parse(text(payload));
    if (!CA_KINDS.includes(kind) || !isCount(seq) || seq === 0 || !isCount(at)) return undefined;
    const change = { kind, seq, at, from: parseKeys(from), to: parseKeys(to) };
    return { change, payload, signature };
  } catch {
    return undefined;
  }
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;

function parseKeys(lines: unknown): readonly PublicKey[] {
  if (!Array.isArray(lines) || lines.length === 0 || lines.length > MAX_KEYS) {
    throw new TypeError("a set of keys");
  }
  return lines.map((line) => parseAuthorizedLine(String(line)));
}

/**
 * The trust after those statements that begin where it stands. Whatever else is among them, replayed,
 * forged, of another CA, or beyond a gap, changes nothing. The same object where nothing changed.
 */
export function followCa(trust: CaTrust, statements: readonly string[]): CaTrust {
  const read = statements.flatMap((statement) => readCaStatement(statement) ?? [])
    .sort((a, b) => a.change.seq - b.change.seq);
  const host = follow("host", trust.host, read), user = follow("user", trust.user, read);
  return host === trust.host && user === trust.user ? trust : { host, user };
}

function follow(
  kind: CaKind,
  start: TrustedKeys,
  statements: readonly ReadStatement[],
): TrustedKeys {
  let trusted = start;
  for (const { change, payload, signature } of statements) {
    const { seq, from, to } = change;
    if (change.kind !== kind || seq <= trusted.seq || !sameKeys(from, trusted.keys)) continue;
    const signed = signedBytes(payload);
    // by the keys that are trusted, whatever the statement says of itself
    if (!trusted.keys.some((key) => verifyBytes(signed, signature, key))) continue;
    trusted = { keys: to, seq };
  }
  return trusted;
}

const sameKeys = (a: readonly PublicKey[], b: readonly PublicKey[]): boolean =>
  a.length === b.length && a.every((key, i) => equalBytes(key.blob, b[i]!.blob));

/** Every key that the statements name: a pair that was pinned once is among them. */
export function namedKeys(kind: CaKind, statements: readonly string[]): readonly PublicKey[] {
  const keys: PublicKey[] = [];
  for (const statement of statements) {
    const change = readCaStatement(statement)?.change;
    if (change?.kind !== kind) continue;
    for (const key of [...change.from, ...change.to]) if (!includesKey(keys, key)) keys.push(key);
  }
  return keys;
}
