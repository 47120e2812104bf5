/**
 * The least version of a package with which its known holes are closed, or on whose insides we depend. The
 * lock pins versions; this keeps a lock from pinning one that is too old, when it is made and when an
 * executable is built of it. What runs is what the lock says: it is frozen, and the bundle has no other.
 */

const LEAST: Readonly<Record<string, string>> = {
  hono: "4.13.5", // bodyLimit could be passed by
  postgres: "3.4.9", // its sockets are ours from outside
  ssh2: "1.17.0", // its insides are ours from outside: src/ssh
  valibot: "1.2.0", // an expression that took for ever
};

/** A line for each package of the lock that is too old, or is not there. */
export function tooOld(lock: string): string[] {
  const { npm } = JSON.parse(lock) as { npm: Record<string, unknown> };
  return Object.entries(LEAST).flatMap(([name, least]) => {
    const versions = Object.keys(npm).flatMap((key) => {
      const found = /^(@?[^@]+)@(\d[^_]*)/.exec(key);
      return found?.[1] === name ? [found[2]!] : [];
    });
    if (versions.length === 0) return [`${name} is not in deno.lock; ${least} or newer is needed`];
    return versions.filter((version) => isOlder(version, least))
      .map((version) => `${name} ${version} is in deno.lock; ${least} or newer is needed`);
  });
}

/** A version before its release (`1.0.0-rc.1`) counts as older than it. */
function isOlder(version: string, least: string): boolean {
  const [numbers, candidate] = version.split(/-(.*)/);
  const [a, b] = [numbers!, least].map((text) => text.split(".").map(Number));
  for (let i = 0; i < 3; i++) {
    if (a![i] !== b![i]) return a![i]! < b![i]!;
  }
  return candidate !== undefined;
}
