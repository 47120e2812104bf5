/** Where control groups are, and what is done to their files. They come and go under us. */
import { text } from "../bytes.ts";

/** Before the number of the process that they belong to. */
export const PREFIX = "openbox.";
/** The group to which an agent's own processes go, where they are in the way. */
export const ASIDE = `${PREFIX}agent`;
const ROOT = "/sys/fs/cgroup";

/** Of one hierarchy. */
export interface Place {
  /** v1's; empty in v2, whose controllers are named by its files. */
  readonly controllers: readonly string[];
  /** Where groups may be made, best first. */
  readonly directories: readonly string[];
}

/** `own` is the text of /proc/self/cgroup. */
export function readPlaces(own: string): readonly Place[] {
  const places: Place[] = [];
  for (const line of own.split("\n")) {
    const [, names, own] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    const path = own?.endsWith(`/${ASIDE}`) ? own.slice(0, -`/${ASIDE}`.length) || "/" : own;
    // the watchdog keeps paths in one word of its shell
    if (names === undefined || path === undefined || /[\s*?[\\:]/.test(path)) continue;
    const controllers = names === "" ? [] : names.split(",");
    const mounts = names === "" ? [ROOT, `${ROOT}/unified`] : [`${ROOT}/${controllers[0]}`];
    // in a container the path may be the host's, which is not to be seen from within
    const ends = path === "/" ? [""] : [path, ""];
    const directories = mounts.flatMap((mount) => ends.map((end) => mount + end));
    places.push({ controllers, directories });
  }
  return places;
}

/** Removes what agents that were killed left empty. */
export function sweep(directory: string): void {
  attempt(() => {
    for (const { name } of Deno.readDirSync(directory)) {
      const pid = Number(/^openbox\.(\d+)\./.exec(name)?.[1] ?? NaN);
      if (Number.isNaN(pid) || isAlive(pid)) continue;
      attempt(() => {
        for (const run of Deno.readDirSync(`${directory}/${name}`)) {
          if (run.isDirectory) removeGroup(`${directory}/${name}/${run.name}`);
        }
        Deno.removeSync(`${directory}/${name}`);
      });
    }
  });
}

function isAlive(pid: number): boolean {
  try {
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch {
    return false;
  }
}

/** Those that its processes made in it, as nspawn does in v2; the innermost first. */
export function groupsIn(group: string): string[] {
  try {
    return [...Deno.readDirSync(group)].filter(({ isDirectory }) => isDirectory)
      .map(({ name }) => `${group}/${name}`)
      .flatMap((inner) => [...groupsIn(inner), inner]);
  } catch {
    return [];
  }
}

/** False while there is a process in it. */
export function removeGroup(group: string): boolean {
  try {
    for (const inner of groupsIn(group)) Deno.removeSync(inner);
    Deno.removeSync(group);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/** Those directly in the group; empty where it is gone. */
export function listProcesses(group: string): number[] {
  try {
    return text(Deno.readFileSync(`${group}/cgroup.procs`)).split("\n").map(Number).filter((pid) =>
      pid > 0 // 0, of another PID namespace, would be our own group to kill
    );
  } catch {
    return [];
  }
}

/** Never makes the file: kernels before 5.14 have no cgroup.kill. */
export function writeControl(path: string, content: string): void {
  Deno.writeTextFileSync(path, content, { create: false });
}

/** Whether it could be done. */
export function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}
