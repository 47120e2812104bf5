/**
 * Which login somebody goes by: what changes whenever its file is replaced. Both ends of the local socket
 * make it for themselves, and a daemon that has read another is not used. Settings are the daemon's to
 * watch: looking for a file that is mostly not there costs a caller 2 ms, for the error and its stack.
 */
export const generationOf = (home: string): string => stamp(`${home}/config.json`);

/** The same of the settings. */
export const settingsOf = (home: string): string => stamp(`${home}/settings.toml`);

function stamp(path: string): string {
  try {
    const { dev, ino, mtime, size } = Deno.statSync(path);
    return `${dev}:${ino}:${mtime?.getTime()}:${size}`;
  } catch {
    return "-"; // what is wrong with it, whoever reads it says
  }
}
