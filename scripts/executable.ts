/**
 * The offline form: one file that is a launcher for sh, and behind its text a compressed archive of Deno
 * and the bundle. It needs nothing but what every system has, and unpacks itself once.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Bundle } from "./bundle.ts";
import { needs, type Target } from "./runtime.ts";
import { tar, type TarFile } from "./tar.ts";

export interface ExecutableParts {
  /** The checkout. */
  readonly root: string;
  readonly target: Target;
  readonly version: string;
  readonly runtime: Uint8Array;
  readonly bundle: Bundle;
}

export async function executable(parts: ExecutableParts): Promise<Uint8Array<ArrayBuffer>> {
  const { root, target, version, runtime, bundle } = parts;
  const script = (name: string) => Deno.readTextFile(`${root}/scripts/${name}`);
  const main = bundle.get("main.js");
  if (main === undefined) throw new Error("the bundle has no main.js");
  const rest = [...bundle.keys()].filter((name) => name !== "main.js").sort();
  const text = (name: string, content: string): TarFile => ({
    name,
    bytes: new TextEncoder().encode(content),
    mode: 0o600,
  });
  const files = [
    { name: "deno", bytes: runtime, mode: 0o700 },
    text("main.js", main),
    text("settle.js", await script("settle.js")),
    ...rest.map((name) => text(name, bundle.get(name)!)),
  ];
  const sums = files.map(({ name, bytes }) => `${sha256(bytes)}  ${name}\n`).join("");
  const packed = gzipSync(tar([...files, text("sums", sums)]), { level: 9 });
  const sumsHash = sha256(new TextEncoder().encode(sums));

  const values: Record<string, string> = {
    VERSION: version,
    TARGET: target,
    ID: sumsHash.slice(0, 32),
    SUMS_HASH: sumsHash,
    DENO_SIZE: String(runtime.length),
    MAIN_SIZE: String(files[1]!.bytes.length),
    FILES: rest.join(" "),
    CACHE: target.startsWith("macos") ? "Library/Caches/openbox" : ".cache/openbox",
    NEEDS: needs(target),
    MEGABYTES: String(
      Math.ceil(files.reduce((sum, { bytes }) => sum + bytes.length, 0) / 1e6 + 10),
    ),
    ENVIRONMENT: withoutComments(await script("environment.sh")),
    PERMISSIONS: withoutComments(await script("permissions.sh")),
  };
  const filled = (await script("launcher.sh")).replaceAll(/@([A-Z_]+)@/g, (whole, name) => {
    if (name === "OFFSET") return whole;
    const value = values[name];
    if (value === undefined) throw new Error(`scripts/launcher.sh asks for ${whole}`);
    return value;
  });
  return Uint8Array.from(Buffer.concat([Buffer.from(withOffset(filled)), packed]));
}

/** The text says at which byte, counted from one, the archive behind it begins. */
function withOffset(text: string): string {
  const length = new TextEncoder().encode(text).length;
  for (let digits = 1;; digits++) {
    const offset = String(length - "@OFFSET@".length + digits + 1);
    if (offset.length === digits) return text.replace("@OFFSET@", offset);
  }
}

const withoutComments = (script: string): string => script.replaceAll(/^\s*(#.*)?\n/gm, "");

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
