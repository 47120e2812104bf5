/**
 * The Deno that goes into an executable: the pinned version's binary for a target, from npm, held against
 * the hashes of runtimes.json. The machine's own is taken from the Deno that runs this, if it is the same.
 */
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import runtimes from "./runtimes.json" with { type: "json" };

export type Target = keyof typeof runtimes.targets;

export const TARGETS = Object.keys(runtimes.targets) as Target[];

export const isTarget = (word: string): word is Target => TARGETS.includes(word as Target);

/** This machine's. */
export function ownTarget(): Target {
  const os = Deno.build.os === "darwin" ? "macos" : Deno.build.os;
  const target = `${os}-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`;
  if (isTarget(target)) return target;
  throw new Error(`openbox is built for ${TARGETS.join(", ")}, and this machine is ${target}`);
}

/** The least glibc, or macOS, that this runtime runs on. */
export const needs = (target: Target): string => runtimes.targets[target].needs;

/** `cache` is a directory in which downloads are kept. */
export async function readRuntime(
  target: Target,
  { version, cache }: { readonly version: string; readonly cache: string },
): Promise<Uint8Array> {
  if (version !== runtimes.version) {
    throw new Error(
      `.deno-version says ${version}, and scripts/runtimes.json has the hashes of ${runtimes.version}`,
    );
  }
  const { sha256 } = runtimes.targets[target];
  const kept = `${cache}/deno-${version}-${target}`;
  for (const path of [Deno.execPath(), kept]) {
    const found = await Deno.readFile(path).catch(() => undefined);
    if (found && hash("sha256", found, "hex") === sha256) return found;
  }
  const binary = await fetchRuntime(target);
  await Deno.mkdir(cache, { recursive: true });
  const incoming = await Deno.makeTempFile({ dir: cache, prefix: "incoming-" });
  await Deno.writeFile(incoming, binary, { mode: 0o755 });
  await Deno.rename(incoming, kept);
  return binary;
}

async function fetchRuntime(target: Target): Promise<Uint8Array> {
  const { package: name, integrity, sha256 } = runtimes.targets[target];
  const registry = Deno.env.get("NPM_CONFIG_REGISTRY") || "https://registry.npmjs.org/";
  const file = `${name}/-/${name.replace(/^.*\//, "")}-${runtimes.version}.tgz`;
  const url = `${registry.replace(/\/*$/, "/")}${file}`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(600_000) });
  if (!answer.ok) {
    throw new Error(`cannot get the Deno for ${target}: ${url} answers ${answer.status}`);
  }
  const packed = new Uint8Array(await answer.arrayBuffer());
  if (`sha512-${hash("sha512", packed, "base64")}` !== integrity) {
    throw new Error(`${url} is not what scripts/runtimes.json has the hash of`);
  }
  const binary = fileOfTar(gunzipSync(packed), "package/deno");
  if (!binary || hash("sha256", binary, "hex") !== sha256) {
    throw new Error(`the deno in ${url} is not what scripts/runtimes.json has the hash of`);
  }
  return binary;
}

function hash(algorithm: string, bytes: Uint8Array, form: "hex" | "base64"): string {
  return createHash(algorithm).update(bytes).digest(form);
}

function fileOfTar(archive: Uint8Array, wanted: string): Uint8Array | undefined {
  const field = (at: number, length: number) =>
    new TextDecoder().decode(archive.subarray(at, at + length)).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= archive.length;) {
    const size = parseInt(field(at + 124, 12), 8) || 0;
    if (field(at, 100) === wanted) return archive.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return undefined;
}
