/** install.sh as a release has it: with where it comes from, its version and the keys that are believed. */
import { keyLines, parseReleaseKeys } from "../../src/release/keys.ts";
import { isRepository } from "../../src/release/source.ts";
import { isVersion } from "../../src/release/version_order.ts";

export interface Stamp {
  /** OWNER/NAME on GitHub; undefined where none is known. */
  readonly repository: string | undefined;
  readonly version: string;
  /** The text of release_keys.txt. */
  readonly keys: string;
}

/** Each value is checked first: nothing that a shell would take for anything else gets into the script. */
export function stampInstaller(script: string, { repository, version, keys }: Stamp): string {
  if (repository !== undefined && !isRepository(repository)) {
    throw new TypeError(`${JSON.stringify(repository)} is no OWNER/NAME of a repository`);
  }
  if (!isVersion(version)) throw new TypeError(`${JSON.stringify(version)} is no version`);
  parseReleaseKeys(keys);
  // a comment is free text: only the day, the type and the key go in
  const lines = keyLines(keys).map((line) => line.split(" ", 3).join(" "));
  return [
    ["release_repo", repository ?? ""],
    ["release_version", version],
    ["release_keys", lines.join("\n")],
  ].reduce((stamped, [name, value]) => fill(stamped, name!, value!), script);
}

function fill(script: string, name: string, value: string): string {
  const empty = `\n  ${name}=''\n`;
  if (script.split(empty).length !== 2) throw new TypeError(`install.sh has no place for ${name}`);
  return script.replace(empty, () => `\n  ${name}='${value}'\n`);
}
