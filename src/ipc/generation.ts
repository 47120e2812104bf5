/**
 * Which login and settings somebody goes by: of each file what changes whenever it is replaced. Both ends of
 * the local socket make it for themselves, and a daemon that has read others is not used.
 */
export function generationOf(home: string): string {
  return [`${home}/config.json`, `${home}/settings.toml`].map(stamp).join(" ");
}

function stamp(path: string): string {
  try {
    const { dev, ino, mtime, size } = Deno.statSync(path);
    return `${dev}:${ino}:${mtime?.getTime()}:${size}`;
  } catch {
    return "-"; // what is wrong with it, whoever reads it says
  }
}
