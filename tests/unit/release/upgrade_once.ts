/** One upgrade in a process of its own, to be killed. Arguments: base, release key, executable. */
import { parseReleaseKeys } from "../../../src/release/keys.ts";
import { findRelease, installRelease } from "../../../src/release/upgrade.ts";
import { tarballName } from "../../../src/release/source.ts";

const [base, key, executable] = Deno.args as [string, string, string];
const release = await findRelease({ base, keys: parseReleaseKeys(key), now: Date.now() });
try {
  await installRelease(release, {
    base,
    executable,
    tarball: tarballName(Deno.build),
    answerMs: 10_000,
  });
} catch (error) {
  await Deno.stderr.write(new TextEncoder().encode(`${(error as Error).message}\n`));
  Deno.exit(1);
}
