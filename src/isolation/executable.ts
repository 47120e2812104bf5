/** Whether there is a file of this machine that somebody may execute. */
export const isExecutable = (path: string): Promise<boolean> =>
  Deno.stat(path).then(({ isFile, mode }) => isFile && ((mode ?? 0) & 0o111) !== 0, () => false);
