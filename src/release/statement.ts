/**
 * What a release says of itself: openbox-release.txt, with its version and the checksums of its files.
 * It is what the release key signs, so that an old file cannot be passed off as one of a newer release.
 */
import { text } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { fingerprint } from "../ssh/key.ts";
import { SignatureError, verifySignature } from "../ssh/sshsig.ts";
import { isAlive, type ReleaseKey } from "./keys.ts";
import { isVersion } from "./version_order.ts";

export const STATEMENT = "openbox-release.txt", SIGNATURE = `${STATEMENT}.sig`;
/** What the signature is for (ssh-keygen's -n). */
export const NAMESPACE = "openbox-release";
/** Some hundred bytes are what one has. */
export const MAX_STATEMENT_BYTES = 64 * 1024;

const FIRST_LINE = "openbox-release-v1";

export interface ReleaseFile {
  readonly bytes: number;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}

export interface Statement {
  readonly version: string;
  /** Of git, 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: ReadonlyMap<string, ReleaseFile>;
}

declare const verified: unique symbol;
/** A statement that a release key signed. Only `verifyStatement` makes one. */
export type VerifiedRelease = Statement & { readonly [verified]: true };

export function writeStatement({ version, commit, files }: Statement): string {
  const lines = [FIRST_LINE, `version ${version}`, `commit ${commit}`];
  for (const [name, { bytes, sha256 }] of files) lines.push(`file ${name} ${bytes} ${sha256}`);
  return lines.join("\n") + "\n";
}

/** Throws `signature_invalid` for what no living key of `keys` signed, or what cannot be read. */
export function verifyStatement(
  bytes: Uint8Array,
  signature: string,
  { keys, now }: { readonly keys: readonly ReleaseKey[]; readonly now: number },
): VerifiedRelease {
  if (keys.length === 0) {
    throw new OpenboxError(
      "signature_invalid",
      "This openbox has no release key: it believes no release",
      {
        hint: "install a release: its install.sh brings its key",
      },
    );
  }
  checkSignature(bytes, signature, keys, now);
  return parseStatement(text(bytes)) as VerifiedRelease;
}

function checkSignature(
  bytes: Uint8Array,
  signature: string,
  keys: readonly ReleaseKey[],
  now: number,
): void {
  try {
    const signer = verifySignature(bytes, signature, {
      namespace: NAMESPACE,
      keys: keys.map(({ key }) => key),
    });
    const releaseKey = keys.find(({ key }) => key === signer)!;
    if (isAlive(releaseKey, now)) return;
    throw new OpenboxError(
      "signature_invalid",
      `The release key ${fingerprint(signer.blob)} was good until ${releaseKey.until}`,
      { hint: "install a newer release with its own install.sh" },
    );
  } catch (cause) {
    if (!(cause instanceof SignatureError)) throw cause;
    throw new OpenboxError("signature_invalid", `Cannot believe the release: ${cause.message}`, {
      hint: "if it came from a mirror, ask who keeps it; else report it",
      cause,
    });
  }
}

const FILE = /^file ([A-Za-z0-9][A-Za-z0-9._-]{0,127}) (0|[1-9]\d{0,11}) ([0-9a-f]{64})$/;

/** Throws `signature_invalid`: a release that cannot be read is not believed. */
export function parseStatement(statement: string): Statement {
  const [first, ...lines] = statement.split("\n");
  if (first !== FIRST_LINE || lines.pop() !== "") throw unreadable("it is of another form");
  let version: string | undefined, commit: string | undefined;
  const files = new Map<string, ReleaseFile>();
  for (const line of lines) {
    const [word, value = "", ...more] = line.split(" ");
    if (word === "version" && version === undefined && more.length === 0) version = value;
    else if (word === "commit" && commit === undefined && more.length === 0) commit = value;
    else {
      const [, name, bytes, sha256] = FILE.exec(line) ?? [];
      if (!name || !sha256 || files.has(name)) {
        throw unreadable(`a line in it is ${line.slice(0, 40)}`);
      }
      files.set(name, { bytes: Number(bytes), sha256 });
    }
  }
  if (!version || !isVersion(version)) throw unreadable("it names no version");
  if (!commit || !/^[0-9a-f]{40}$/.test(commit)) throw unreadable("it names no commit");
  return { version, commit, files };
}

const unreadable = (why: string) =>
  new OpenboxError("signature_invalid", `Cannot read ${STATEMENT} of the release: ${why}`, {
    hint: "install that release with its own install.sh",
  });
