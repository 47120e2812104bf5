/** Whether a program is on the PATH: tests of a shell that is not there are left out. */
export const isInstalled = (name: string): boolean =>
  (Deno.env.get("PATH") ?? "").split(":").some((directory) => {
    try {
      return Deno.statSync(`${directory}/${name}`).isFile;
    } catch {
      return false;
    }
  });
