/** Where releases are: GitHub's of a repository, or a mirror that is laid out like them. */
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";

/** What install.sh takes, and no more: nothing in it can leave the address. */
const BASE = /^https?:\/\/[\]\[A-Za-z0-9._~:/%+-]+$/;
const REPOSITORY = /^[A-Za-z0-9][A-Za-z0-9-]*\/[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

export const isRepository = (text: string): boolean => REPOSITORY.test(text);

/**
 * The address below which `latest/download/FILE` and `download/vVERSION/FILE` are. `built` is the repository
 * that this openbox is a release of.
 */
export function releaseBase(host: Pick<Host, "env">, built: string | null): string {
  const mirror = host.env("OPENBOX_BASE_URL");
  if (mirror !== undefined) {
    if (BASE.test(mirror) && URL.canParse(mirror)) return mirror.replace(/\/+$/, "");
    throw new OpenboxError("bad_setting", "OPENBOX_BASE_URL is no address of a mirror", {
      hint: "an address such as https://mirror.example.com/openbox",
    });
  }
  const repository = host.env("OPENBOX_REPO") ?? built;
  if (repository === null) {
    throw new OpenboxError("bad_setting", "Nothing says where releases of openbox are", {
      hint: "set OPENBOX_REPO=OWNER/NAME, or OPENBOX_BASE_URL",
    });
  }
  if (!isRepository(repository)) {
    throw new OpenboxError("bad_setting", "OPENBOX_REPO is no OWNER/NAME of a repository");
  }
  return `https://github.com/${repository}/releases`;
}

/** Of one release; without a version the latest. */
export const releaseFolder = (base: string, version?: string): string =>
  version === undefined ? `${base}/latest/download` : `${base}/download/v${version}`;

const SYSTEMS: Readonly<Record<string, string>> = {
  "linux x86_64": "linux-amd64",
  "linux aarch64": "linux-arm64",
  "darwin x86_64": "darwin-amd64",
  "darwin aarch64": "darwin-arm64",
};

/** The file of a release for this system. */
export function tarballName({ os, arch }: { readonly os: string; readonly arch: string }): string {
  const system = SYSTEMS[`${os} ${arch}`];
  if (system) return `openbox-${system}.tar.gz`;
  throw new OpenboxError("not_supported", `There is no release of openbox for ${os} on ${arch}`);
}
