/**
 * The CA's keys under a passphrase: scrypt makes a key of it, AES-256-GCM locks the PEM text. The public
 * halves stand in clear beside it, since a control plane that starts sealed has to say which CA it is;
 * they are authenticated with the rest, so that they cannot be swapped.
 */
import { Buffer } from "node:buffer";
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type KeyObject,
  randomBytes,
  scrypt,
} from "node:crypto";
import { OpenboxError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { authorizedLine, parseAuthorizedLine, type PublicKey } from "../ssh/key.ts";
import { type CaKeyRing, formatCaRing, parseCaRing } from "./keys.ts";
import { CA_KINDS, type CaKind } from "./trust.ts";

/** A sealed text as read; `openSeal` has the rest. */
export interface SealedCa {
  /** The public halves, as the ring has them. Not proven before it is open. */
  readonly publicKeys: Readonly<Record<CaKind, readonly PublicKey[]>>;
  readonly cost: ScryptCost;
  readonly salt: Uint8Array;
  readonly nonce: Uint8Array;
  /** The lines above, as they were sealed in. */
  readonly header: string;
  readonly locked: Uint8Array;
}

/** What a passphrase became. Kept, it seals again, and opens what other control planes sealed with it. */
export interface SealKey {
  readonly key: KeyObject;
  readonly salt: Uint8Array;
  readonly cost: ScryptCost;
}

interface ScryptCost {
  readonly n: number;
  readonly r: number;
  readonly p: number;
}

/** 128 MiB and about half a second a try. */
const COST: ScryptCost = { n: 2 ** 17, r: 8, p: 1 };
/** What a file may ask of us: 1 GiB. */
const MAX_N = 2 ** 20, MAX_R = 8, MAX_P = 4;
const MIN_PASSPHRASE = 8, MAX_PASSPHRASE = 1024;
const TAG_BYTES = 16;

const BEGIN = "-----BEGIN OPENBOX SEALED CA-----", END = "-----END OPENBOX SEALED CA-----";
const FORM = new RegExp(
  `^${BEGIN}\\n((?:[A-Za-z]+: [^\\n]{1,300}\\n)+)\\n([A-Za-z0-9+/=\\n]{1,16384})${END}\\n$`,
);

export const isSealed = (text: string): boolean => text.startsWith(BEGIN);

/** Throws `usage` for what is too short to be one. */
export function requirePassphrase(passphrase: Secret): Secret {
  const { length } = passphrase.reveal();
  if (length >= MIN_PASSPHRASE && length <= MAX_PASSPHRASE) return passphrase;
  throw new OpenboxError(
    "usage",
    `A passphrase of the CA has ${MIN_PASSPHRASE} to ${MAX_PASSPHRASE} characters`,
    { hint: "five words that nobody would guess are a good one" },
  );
}

/** With a salt of its own. Throws as `requirePassphrase`. */
export const newSealKey = (passphrase: Secret): Promise<SealKey> =>
  deriveKey(requirePassphrase(passphrase), randomBytes(16), COST);

/** The key that `sealed` was locked with, if the passphrase is the same. */
export const sealKeyFor = (sealed: SealedCa, passphrase: Secret): Promise<SealKey> =>
  deriveKey(passphrase, sealed.salt, sealed.cost);

/** On another thread: the event loop goes on. */
function deriveKey(passphrase: Secret, salt: Uint8Array, cost: ScryptCost): Promise<SealKey> {
  const { n: N, r, p } = cost;
  const options = { N, r, p, maxmem: 128 * N * r * (p + 1) };
  return new Promise((resolve, reject) => {
    // one text, whichever keyboard composed its letters
    scrypt(passphrase.reveal().normalize("NFC"), salt, 32, options, (error, key) => {
      if (error) return reject(error);
      resolve({ key: createSecretKey(key), salt, cost });
      key.fill(0);
    });
  });
}

export function sealRing(ring: CaKeyRing, { key, salt, cost }: SealKey): string {
  const nonce = randomBytes(12);
  const lines = [
    "Version: 1",
    `Kdf: scrypt ${cost.n} ${cost.r} ${cost.p} ${Buffer.from(salt).toString("base64")}`,
    `Cipher: aes-256-gcm ${nonce.toString("base64")}`,
    ...CA_KINDS.flatMap((kind) => ring[kind].map((one) => `Key: ${authorizedLine(one, kind)}`)),
  ];
  const header = lines.join("\n") + "\n";
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(Buffer.from(header));
  const locked = Buffer.concat([
    cipher.update(formatCaRing(ring).reveal(), "utf8"),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  const body = locked.toString("base64").match(/.{1,70}/g)!.join("\n");
  return `${BEGIN}\n${header}\n${body}\n${END}\n`;
}

/** Throws `bad_file` for what is cut or changed in its form; whether it is whole only opening shows. */
export function parseSealedCa(text: string, source: string): SealedCa {
  const refuse = (why: string): never => {
    throw new OpenboxError("bad_file", `Cannot use the sealed CA key in ${source}: ${why}`, {
      hint: "restore it from a backup",
    });
  };
  const [, header = "", body = ""] = FORM.exec(text) ?? refuse("it is cut, or was changed");
  const values = (name: string) =>
    header.split("\n").filter((line) => line.startsWith(`${name}: `))
      .map((line) => line.slice(name.length + 2));
  if (values("Version").join() !== "1") refuse("another version of openbox wrote it");
  const kdf = /^scrypt (\d{1,8}) (\d) (\d) ([A-Za-z0-9+/]{22}==)$/.exec(values("Kdf").join());
  const cipher = /^aes-256-gcm ([A-Za-z0-9+/]{16})$/.exec(values("Cipher").join());
  if (!kdf || !cipher) return refuse("it is locked in a way that this openbox does not know");
  const cost = { n: Number(kdf[1]), r: Number(kdf[2]), p: Number(kdf[3]) };
  if (cost.n > MAX_N || cost.r > MAX_R || cost.p > MAX_P || cost.n < 2 || !cost.r || !cost.p) {
    refuse("opening it would take too much memory");
  }
  const publicKeys = { host: [] as PublicKey[], user: [] as PublicKey[] };
  for (const line of values("Key")) {
    const kind = CA_KINDS.find((one) => line.endsWith(` ${one}`)) ?? refuse("a key of no kind");
    try {
      publicKeys[kind].push(parseAuthorizedLine(line));
    } catch {
      refuse("a key that cannot be read");
    }
  }
  if (!publicKeys.host.length || !publicKeys.user.length) refuse("it names no keys");
  return {
    publicKeys,
    cost,
    header,
    salt: Buffer.from(kdf[4]!, "base64"),
    nonce: Buffer.from(cipher[1]!, "base64"),
    locked: Buffer.from(body.replaceAll("\n", ""), "base64"),
  };
}

/** Undefined where the key is not the one, or the text was changed: nobody can tell these apart. */
export function openSeal(sealed: SealedCa, { key }: SealKey): CaKeyRing | undefined {
  const { header, nonce, locked } = sealed;
  if (locked.length <= TAG_BYTES) return undefined;
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(header));
    decipher.setAuthTag(locked.subarray(-TAG_BYTES));
    const pem = Buffer.concat([decipher.update(locked.subarray(0, -TAG_BYTES)), decipher.final()]);
    return parseCaRing(new Secret(pem.toString("utf8")), "the sealed text");
  } catch {
    return undefined;
  }
}

export const isSealedWith = (sealed: SealedCa, key: SealKey): boolean =>
  Buffer.compare(sealed.salt, key.salt) === 0 &&
  sealed.cost.n === key.cost.n && sealed.cost.r === key.cost.r && sealed.cost.p === key.cost.p;

/** A sealed text of `ring`, for a place of its own such as a backup. */
export const sealCa = async (ring: CaKeyRing, passphrase: Secret): Promise<string> =>
  sealRing(ring, await newSealKey(passphrase));

/** Throws `bad_file`, or `wrong_passphrase`. */
export async function openSealedCa(
  text: string,
  passphrase: Secret,
  source: string,
): Promise<{ readonly ring: CaKeyRing; readonly sealKey: SealKey }> {
  const sealed = parseSealedCa(text, source);
  const sealKey = await sealKeyFor(sealed, passphrase);
  const ring = openSeal(sealed, sealKey);
  if (ring) return { ring, sealKey };
  throw new OpenboxError("wrong_passphrase", `The passphrase does not open ${source}`, {
    hint: "if it is the right one, the text was damaged: restore it from a backup",
  });
}
