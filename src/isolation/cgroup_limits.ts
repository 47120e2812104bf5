/**
 * Limits by control groups: in v2 they are files of a run's own group, in v1 memory and cpu have
 * hierarchies of their own, in each of which the run gets another group.
 */
import { OpenboxError } from "../errors.ts";
import {
  ASIDE,
  attempt,
  listProcesses,
  PREFIX,
  readPlaces,
  removeGroup,
  sweep,
  writeControl,
} from "./cgroup_files.ts";
import { readProcess } from "./process_list.ts";

/** What the processes of a group may have together. */
export interface Limits {
  readonly memoryBytes?: number;
  /** Of the machine's cores. */
  readonly cpus?: number;
  /** Processes and threads. */
  readonly pids?: number;
}

export interface Holders extends Disposable {
  /**
   * Sets them for `group`, which is called `name`, and yields each further group that its processes must
   * join. Throws `limit_unsupported` where one cannot be held; what it yielded before is to be removed.
   */
  hold(limits: Limits, name: string, group: string): Iterable<string>;
}

/** What a process writes `0` into, to join a group of v1. */
export const V1_JOIN = "tasks";

const CPU_PERIOD_US = 100_000;
/** Swap is no way round a limit of memory; where it is not counted there is none or it is not limited. */
type Setting = readonly [file: string, value: string, optional?: "optional"];

interface Controller {
  readonly name: string;
  readonly flag: string;
  /** By which a group shows that it has the controller. */
  readonly v2: readonly [Setting, ...Setting[]];
  readonly v1: readonly [Setting, ...Setting[]];
}

function controllersOf({ memoryBytes, cpus, pids }: Limits): readonly Controller[] {
  const wanted: Controller[] = [];
  if (memoryBytes !== undefined) {
    const bytes = String(memoryBytes);
    wanted.push({
      name: "memory",
      flag: "--memory",
      v2: [["memory.max", bytes], ["memory.swap.max", "0", "optional"]],
      v1: [
        ["memory.limit_in_bytes", bytes],
        ["memory.memsw.limit_in_bytes", bytes, "optional"],
      ],
    });
  }
  if (cpus !== undefined) {
    const quota = String(Math.round(cpus * CPU_PERIOD_US));
    wanted.push({
      name: "cpu",
      flag: "--cpus",
      v2: [["cpu.max", `${quota} ${CPU_PERIOD_US}`]],
      v1: [["cpu.cfs_quota_us", quota]],
    });
  }
  if (pids !== undefined) {
    const most = String(pids);
    wanted.push({
      name: "pids",
      flag: "--pids",
      v2: [["pids.max", most]],
      v1: [["pids.max", most]],
    });
  }
  return wanted;
}

/** `own` as `openCgroups` has it; `name` is that of the directory for all groups of this process. */
export function openHolders(own: string, name: string): Holders {
  const places = readPlaces(own);
  for (const controller of ["memory", "cpu"]) {
    for (const directory of directoriesOf(controller)) sweep(directory);
  }
  const bases = new Map<string, string | undefined>();

  function directoriesOf(controller: string): readonly string[] {
    return places.find(({ controllers }) => controllers.includes(controller))?.directories ?? [];
  }
  function baseOf(controller: string): string | undefined {
    if (!bases.has(controller)) {
      const paths = directoriesOf(controller).map((directory) => `${directory}/${name}`);
      bases.set(controller, paths.find((path) => attempt(() => Deno.mkdirSync(path))));
    }
    return bases.get(controller);
  }

  return {
    *hold(limits, run, group) {
      const wanted = controllersOf(limits);
      if (wanted.length > 0) enable(group.slice(0, group.lastIndexOf("/")));
      for (const { name: controller, flag, v1, v2 } of wanted) {
        if (isThere(`${group}/${v2[0][0]}`)) {
          set(group, v2, flag);
          continue;
        }
        const base = baseOf(controller), held = `${base}/${run}`;
        if (base === undefined || !attempt(() => Deno.mkdirSync(held))) throw unsupported(flag);
        yield held;
        set(held, v1, flag);
      }
    },
    [Symbol.dispose]() {
      for (const base of bases.values()) if (base !== undefined) removeGroup(base);
    },
  };
}

/** In v2 a group has the controllers that those above hand down to it. */
function enable(directory: string): void {
  const above = directory.slice(0, directory.lastIndexOf(`/${PREFIX}`));
  for (const { name } of controllersOf({ memoryBytes: 1, cpus: 1, pids: 1 })) {
    const handDown = (at: string) =>
      attempt(() => writeControl(`${at}/cgroup.subtree_control`, `+${name}`));
    if (!handDown(above) && stepAside(above)) handDown(above);
    handDown(directory);
  }
}

/**
 * A group with processes of its own hands nothing down, so ours make room: a unit with `Delegate=yes` has
 * nobody else in its group. False where there is somebody, or nobody to move.
 */
export function stepAside(group: string): boolean {
  const pids = listProcesses(group);
  if (pids.length === 0 || !pids.every(isOurs)) return false;
  const aside = `${group}/${ASIDE}`;
  attempt(() => Deno.mkdirSync(aside)); // an agent before us may have
  return pids.every((pid) =>
    attempt(() => writeControl(`${aside}/cgroup.procs`, String(pid))) || !readProcess(pid)
  );
}

function isOurs(pid: number): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 1;) {
    if (at === Deno.pid) return true;
    at = readProcess(at)?.parent;
  }
  return readProcess(pid) === undefined; // it has ended meanwhile
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function set(group: string, settings: readonly Setting[], flag: string): void {
  for (const [file, value, optional] of settings) {
    const done = attempt(() => writeControl(`${group}/${file}`, value));
    if (!done && !optional) throw unsupported(flag);
  }
}

const unsupported = (flag: string) =>
  new OpenboxError("limit_unsupported", `This node cannot hold ${flag} here`, {
    hint: "it takes Linux, an agent that runs as root, and the cgroup controller for it",
  });

/** Throws `limit_unsupported` where something of `limits` is wanted and there are no cgroups. */
export function requireNone({ memoryBytes, cpus, pids }: Limits): void {
  const [wanted] = controllersOf({ memoryBytes, cpus, pids });
  if (wanted) throw unsupported(wanted.flag);
}
