/** From a signed release to an executable in its place: nothing is unpacked before all that vouches for it fits. */
import { createHash } from "node:crypto";
import type { AbortOptions } from "../abort.ts";
import { text } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import { MAX_SIGNATURE_LENGTH } from "../ssh/sshsig.ts";
import { download } from "./download.ts";
import type { ReleaseKey } from "./keys.ts";
import { replaceExecutable } from "./replace.ts";
import { releaseFolder } from "./source.ts";
import {
  MAX_STATEMENT_BYTES,
  type ReleaseFile,
  SIGNATURE,
  STATEMENT,
  type VerifiedRelease,
  verifyStatement,
} from "./statement.ts";
import { unpackExecutable } from "./unpack.ts";

const SMALL_FILE_MS = 30_000;
/** For some 45 MB, at 100 KB/s. */
const TARBALL_MS = 10 * 60_000;
/** Signed sizes above it are a mistake. */
const MAX_TARBALL_BYTES = 256 * 1024 * 1024;

export interface FindOptions extends AbortOptions {
  /** From `releaseBase`. */
  readonly base: string;
  readonly keys: readonly ReleaseKey[];
  readonly now: number;
  /** By default the latest. */
  readonly version?: string;
}

/** What the release says of itself, once its signature is verified. */
export async function findRelease(options: FindOptions): Promise<VerifiedRelease> {
  const { base, version, keys, now, signal } = options;
  const folder = releaseFolder(base, version);
  const fetchSmall = (name: string, maxBytes: number) =>
    download(`${folder}/${name}`, { maxBytes, deadlineMs: SMALL_FILE_MS, signal });
  const [statement, signature] = await Promise.all([
    fetchSmall(STATEMENT, MAX_STATEMENT_BYTES),
    fetchSmall(SIGNATURE, MAX_SIGNATURE_LENGTH),
  ]);
  const release = verifyStatement(statement, text(signature), { keys, now });
  if (version === undefined || release.version === version) return release;
  throw new OpenboxError(
    "signature_invalid",
    `Asked for ${version}, and got the release ${release.version}`,
    { hint: "if it came from a mirror, ask who keeps it; else report it" },
  );
}

export interface InstallOptions extends AbortOptions {
  readonly base: string;
  /** The file of the release for this system. */
  readonly tarball: string;
  /** The executable that is replaced, without links in its path. */
  readonly executable: string;
  /** How long the new one may take to say its version. */
  readonly answerMs: number;
}

/** Puts the release in the place of the executable; the path of the old one, which is kept. */
export async function installRelease(
  release: VerifiedRelease,
  { base, tarball, executable, answerMs, signal }: InstallOptions,
): Promise<string> {
  const { version } = release;
  const file = release.files.get(tarball);
  if (!file) {
    throw new OpenboxError("not_found", `The release ${version} has no ${tarball}`);
  }
  if (file.bytes > MAX_TARBALL_BYTES) throw wrong(tarball, "it is longer than any release");
  const packed = await download(`${releaseFolder(base, version)}/${tarball}`, {
    maxBytes: file.bytes,
    deadlineMs: TARBALL_MS,
    signal,
  });
  requireSame(packed, file, tarball);
  const content = unpackExecutable(packed as Uint8Array<ArrayBuffer>);
  return await replaceExecutable(executable, content, { version, answerMs, signal });
}

function requireSame(bytes: Uint8Array, wanted: ReleaseFile, name: string): void {
  if (bytes.length !== wanted.bytes) throw wrong(name, "its length is not what the release says");
  if (createHash("sha256").update(bytes).digest("hex") !== wanted.sha256) {
    throw wrong(name, "its checksum is not what the release says");
  }
}

const wrong = (name: string, why: string) =>
  new OpenboxError("signature_invalid", `Cannot believe ${name}: ${why}`, {
    hint: "nothing is installed; if it came from a mirror, ask who keeps it",
  });
