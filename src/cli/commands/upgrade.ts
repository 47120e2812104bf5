/** `openbox upgrade`: a newer release in the place of this executable. */
import { OpenboxError } from "../../errors.ts";
import type { Host } from "../../host.ts";
import { parseReleaseKeys } from "../../release/keys.ts";
import RELEASE_KEYS from "../../release/release_keys.txt" with { type: "text" };
import { releaseBase, tarballName } from "../../release/source.ts";
import { findRelease, installRelease } from "../../release/upgrade.ts";
import { compareVersions, isVersion } from "../../release/version_order.ts";
import { quoteWord } from "../../shell_word.ts";
import { BUILD, VERSION } from "../../version.ts";
import { printJson, printLine, printNote } from "../output.ts";
import { showWaiting } from "../progress.ts";

export interface UpgradeFlags {
  readonly check?: boolean;
  readonly version?: string;
  readonly json?: boolean;
}

/** How long a new openbox may take to say its version: the first start unpacks it. */
const ANSWER_MS = 30_000;

export async function upgrade(flags: UpgradeFlags, host: Host): Promise<void> {
  const version = flags.version?.replace(/^v/, "");
  if (version !== undefined && !isVersion(version)) {
    throw new OpenboxError("usage", `--version ${flags.version} is no version such as 1.2.3`);
  }
  const executable = flags.check ? undefined : await ownExecutable(host);
  const base = releaseBase(host, BUILD.repository);
  const keys = parseReleaseKeys(RELEASE_KEYS);
  const release = await findRelease({
    base,
    keys,
    now: host.clock.now(),
    version,
    signal: host.signal,
  });
  const order = compareVersions(release.version, VERSION);
  const found = { version: VERSION, release: release.version, newer: order > 0 };
  if (!executable || order === 0) {
    if (flags.json) return printJson({ ...found, upgraded: false, kept: null }, host);
    return printLine(
      order > 0
        ? `openbox ${release.version} is there, this is ${VERSION}: openbox upgrade`
        : `openbox ${VERSION} is up to date`,
      host,
    );
  }
  if (order < 0) {
    throw new OpenboxError(
      "conflict",
      `This is openbox ${VERSION}, and the release ${release.version} is older`,
      { hint: `OPENBOX_VERSION=${release.version} sh install.sh installs it all the same` },
    );
  }
  await using _ = showWaiting(`fetching openbox ${release.version}`, host);
  const kept = await installRelease(release, {
    base,
    tarball: tarballName(Deno.build),
    executable,
    answerMs: ANSWER_MS,
    signal: host.signal,
  });
  if (flags.json) return printJson({ ...found, upgraded: true, kept }, host);
  await printLine(`openbox ${release.version} has taken the place of ${VERSION}`, host);
  await printNote(
    `the old one is kept; back to it: mv ${quoteWord(kept)} ${quoteWord(executable)}`,
    host,
  );
  await printNote(
    "services go on with the old one until they are started anew: openbox service status",
    host,
  );
}

/** The path of what people start, without links in it. */
function ownExecutable({ program }: Pick<Host, "program">): Promise<string> {
  if (BUILD.form === "compiled") return Deno.realPath(Deno.execPath());
  // its launcher says where it is; what it started lies in the cache
  if (BUILD.form === "offline" && program !== undefined) return Deno.realPath(program);
  return Promise.reject(
    new OpenboxError(
      "not_supported",
      "This openbox runs from its sources: there is nothing to replace",
      { hint: "git pull in the clone" },
    ),
  );
}
