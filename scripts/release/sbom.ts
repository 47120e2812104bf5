/** What is in a release, as a CycloneDX document: the packages of deno.lock that main.ts reaches, and Deno. */
import { createHash } from "node:crypto";
import { fromBase64 } from "../../src/bytes.ts";

/** What `deno info --json main.ts` prints, as far as it is read here. Packages go by the keys of deno.lock. */
export interface Graph {
  readonly modules: readonly { readonly npmPackage?: string }[];
  /** All of deno.lock. */
  readonly npmPackages: NpmPackages;
}
type NpmPackages = Readonly<Record<string, NpmPackage | undefined>>;
interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly dependencies: readonly string[];
}

/** Of deno.lock. */
export interface Lock {
  readonly npm: Readonly<Record<string, { readonly integrity: string } | undefined>>;
}

export interface SbomOptions {
  readonly version: string;
  readonly commit: string;
  /** Epoch milliseconds of the commit: the same commit has the same document. */
  readonly committedAt: number;
  readonly deno: string;
  readonly graph: Graph;
  readonly lock: Lock;
}

/** Throws where a package has no hash in deno.lock: it would be whatever the registry gives. */
export function makeSbom(options: SbomOptions): string {
  const { version, commit, committedAt, deno, graph, lock } = options;
  const main = `pkg:generic/openbox@${version}`, runtime = `pkg:github/denoland/deno@v${deno}`;
  const roots = graph.modules.flatMap(({ npmPackage }) => npmPackage ?? []);
  const packages = reached(roots, graph.npmPackages);
  // one can be there more than once, for different neighbours
  const listed = new Map([...packages].map(([key, found]) => [purl(found), { key, found }]));
  const refs = (keys: readonly string[]) =>
    [...new Set(keys.map((key) => purl(packages.get(key)!)))].sort();
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: new Date(committedAt).toISOString(),
      component: {
        "type": "application",
        "bom-ref": main,
        "name": "openbox",
        version,
        "purl": main,
        "properties": [{ name: "openbox:commit", value: commit }],
      },
    },
    components: [
      { "type": "platform", "bom-ref": runtime, "name": "deno", "version": deno, "purl": runtime },
      ...[...listed].map(([ref, { key, found }]) => ({
        "type": "library",
        "bom-ref": ref,
        "name": found.name,
        "version": found.version,
        "purl": ref,
        "hashes": [{ alg: "SHA-512", content: sha512(key, lock) }],
      })),
    ],
    dependencies: [
      { ref: main, dependsOn: [runtime, ...refs(roots)] },
      ...[...listed].map(([ref, { found }]) => ({ ref, dependsOn: refs(found.dependencies) })),
    ],
  };
  return JSON.stringify({ serialNumber: serialOf(document), ...document }, null, 2) + "\n";
}

/** With all that they need, in the order of their keys. */
function reached(roots: readonly string[], all: NpmPackages): Map<string, NpmPackage> {
  const found = new Map<string, NpmPackage>();
  const waiting = [...roots];
  for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
    if (found.has(key)) continue;
    const one = all[key];
    if (!one) throw new Error(`${key} is needed, and not among the packages`);
    found.set(key, one);
    waiting.push(...one.dependencies);
  }
  return new Map([...found].sort(([a], [b]) => a < b ? -1 : 1));
}

const purl = ({ name, version }: NpmPackage): string =>
  `pkg:npm/${name.replace("@", "%40")}@${version}`;

function sha512(key: string, { npm }: Lock): string {
  const { integrity = "" } = npm[key] ?? {};
  const bytes = integrity.startsWith("sha512-") ? fromBase64(integrity.slice(7)) : undefined;
  if (!bytes || bytes.length !== 64) throw new Error(`deno.lock has no SHA-512 of ${key}`);
  return bytes.toHex();
}

/** A UUID (RFC 9562, version 8) of what the document says. */
function serialOf(document: unknown): string {
  const bytes = createHash("sha256").update(JSON.stringify(document)).digest().subarray(0, 16);
  bytes[6] = bytes[6]! & 0x0f | 0x80;
  bytes[8] = bytes[8]! & 0x3f | 0x80;
  const hex = bytes.toString("hex");
  return `urn:uuid:${hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")}`;
}
