/**
 * The files of a release from its executables: tarballs, their checksums, install.sh, the SBOM, the statement
 * about all of them, and its signature. Without a release key, or a list that has it, the release is
 * unsigned: it says so, and nothing that openbox ships installs it.
 */
import { createHash } from "node:crypto";
import { utf8 } from "../../src/bytes.ts";
import { keyLines, parseReleaseKeys } from "../../src/release/keys.ts";
import {
  NAMESPACE,
  type ReleaseFile,
  SIGNATURE,
  STATEMENT,
  verifyStatement,
  writeStatement,
} from "../../src/release/statement.ts";
import type { Secret } from "../../src/secret.ts";
import { parsePrivatePem } from "../../src/ssh/key.ts";
import { signMessage } from "../../src/ssh/sshsig.ts";
import { stampInstaller } from "./installer.ts";
import { packExecutable } from "./tarball.ts";

/** What scripts/build calls a system, and what a release does. */
export const SYSTEMS: Readonly<Record<string, string>> = {
  "linux-x64": "linux-amd64",
  "linux-arm64": "linux-arm64",
  "macos-x64": "darwin-amd64",
  "macos-arm64": "darwin-arm64",
};

export const SBOM = "openbox-sbom.cdx.json", UNSIGNED = "UNSIGNED.txt";

export interface DistOptions {
  readonly version: string;
  readonly commit: string;
  /** OWNER/NAME on GitHub. */
  readonly repository: string | undefined;
  /** By what scripts/build calls the system. */
  readonly executables: ReadonlyMap<string, Uint8Array>;
  /** The text of install.sh as the sources have it. */
  readonly installer: string;
  readonly sbom: string;
  /** The text of release_keys.txt. */
  readonly keys: string;
  /** The private half, PEM. */
  readonly releaseKey: Secret | undefined;
  readonly now: number;
}

/** Throws where a key is given that is not one of the list, or is past its day. */
export function makeDist(options: DistOptions): Map<string, Uint8Array> {
  const { version, commit, repository, keys } = options;
  const files = new Map<string, Uint8Array>();
  for (const [system, executable] of options.executables) {
    const name = SYSTEMS[system];
    if (!name) throw new Error(`there is no release for ${system}`);
    files.set(`openbox-${name}.tar.gz`, packExecutable(executable));
  }
  const tarballs = [...files];
  files.set(SBOM, utf8(options.sbom));
  files.set("install.sh", utf8(stampInstaller(options.installer, { repository, version, keys })));
  const statement = utf8(writeStatement({ version, commit, files: sums(files) }));
  for (const [name, bytes] of tarballs) {
    files.set(`${name}.sha256`, utf8(`${sha256(bytes)}  ${name}\n`));
  }
  files.set(STATEMENT, statement);
  const signature = sign(statement, options);
  if (signature !== undefined) files.set(SIGNATURE, utf8(signature));
  else files.set(UNSIGNED, utf8(whyUnsigned(keys)));
  return files;
}

function sign(statement: Uint8Array, { keys, releaseKey, now }: DistOptions): string | undefined {
  if (!releaseKey) return undefined;
  const [named, ...more] = parsePrivatePem(releaseKey.reveal());
  if (!named || more.length > 0) throw new Error("OPENBOX_RELEASE_KEY is not one private key");
  const signature = signMessage(statement, NAMESPACE, named.key);
  // as whoever installs it will
  verifyStatement(statement, signature, { keys: parseReleaseKeys(keys), now });
  return signature;
}

const whyUnsigned = (keys: string): string =>
  keyLines(keys).length === 0
    ? "This build is not signed: src/release/release_keys.txt has no key. install.sh refuses it.\n"
    : "This build is not signed: OPENBOX_RELEASE_KEY was not set. install.sh refuses it.\n";

const sums = (files: ReadonlyMap<string, Uint8Array>): Map<string, ReleaseFile> =>
  new Map(
    [...files].map(([name, bytes]) => [name, { bytes: bytes.length, sha256: sha256(bytes) }]),
  );

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
