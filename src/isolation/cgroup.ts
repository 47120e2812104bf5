/**
 * A Linux control group for each run. A process leaves its process group by setsid, but not its cgroup:
 * by that the whole tree of a run can be found and ended. Where there are none (macOS, no rights, no
 * hierarchy that may be written) a run has its process group alone.
 */
import { quoteWord } from "../shell_word.ts";
import {
  attempt,
  groupsIn,
  listProcesses,
  PREFIX,
  readPlaces,
  removeGroup,
  sweep,
  writeControl,
} from "./cgroup_files.ts";
import { type Holders, type Limits, openHolders, requireNone, V1_JOIN } from "./cgroup_limits.ts";

export interface Cgroup {
  readonly path: string;
  /** A process that writes `0` into each of them is in the group from then on, with all that it starts. */
  readonly joinFiles: readonly string[];
  /** It holds limits: what cannot join it must not run. */
  readonly isLimited: boolean;
  /** To every process in it. */
  signal(signal: Deno.Signal): void;
  isEmpty(): boolean;
  /** Their numbers, by now. */
  processes(): readonly number[];
  /** Gives it back; where something lives on in it, it is removed later. */
  release(): void;
}

export interface Cgroups extends Disposable {
  /** The directory that holds those of all runs. */
  readonly path: string;
  /** Undefined where none can be made just now. Throws `limit_unsupported` where it cannot hold `limits`. */
  create(limits?: Limits): Cgroup | undefined;
}

/**
 * Below the cgroup of this process, so that limits set on the agent hold for its runs. `own` is the text of
 * /proc/self/cgroup.
 */
export async function openCgroups(own?: string): Promise<Cgroups | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const text = own ?? await readOwn();
  const name = `${PREFIX}${Deno.pid}.${crypto.randomUUID().slice(0, 8)}`;
  const holders = openHolders(text, name);
  for (const { directory, join } of hierarchies(text)) {
    sweep(directory);
    const path = `${directory}/${name}`;
    if (!attempt(() => Deno.mkdirSync(path))) continue;
    if (await canJoin(`${path}/${join}`)) return createCgroups(path, join, holders);
    attempt(() => Deno.removeSync(path));
  }
  return undefined;
}

interface Hierarchy {
  readonly directory: string;
  readonly join: string;
}

/**
 * Where to try, best first. v1's `tasks` takes a single-threaded shell in 0.1 ms; `cgroup.procs` waits
 * for a grace period of the kernel, 12 ms on an idle machine (measured on Linux 6.18).
 */
function hierarchies(own: string): Hierarchy[] {
  return readPlaces(own).flatMap(({ controllers, directories }): Hierarchy[] => {
    if (controllers.length > 0 && !controllers.includes("pids")) return [];
    const join = controllers.length === 0 ? "cgroup.procs" : "tasks";
    return directories.map((directory) => ({ directory, join }));
  }).sort((a, b) => Number(a.join === "cgroup.procs") - Number(b.join === "cgroup.procs"));
}

async function readOwn(): Promise<string> {
  try {
    return await Deno.readTextFile("/proc/self/cgroup");
  } catch {
    return ""; // Deno shows it only to a process with all permissions
  }
}

/** Having made a directory there does not mean that processes may be moved into it. */
async function canJoin(file: string): Promise<boolean> {
  const { success } = await new Deno.Command("/bin/sh", {
    args: ["-c", '[ -e "$1" ] && echo 0 >"$1"', "sh", file],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  return success;
}

function createCgroups(path: string, join: string, holders: Holders): Cgroups {
  const listed = join === V1_JOIN ? listProcesses : processesIn;
  let count = 0;
  /** Released, and not empty when last seen. */
  const left: string[] = [];
  const removeLeft = (many: number) => {
    for (const old of left.splice(0, many)) if (!removeGroup(old)) left.push(old);
  };
  return {
    path,
    create(limits = {}) {
      const name = `${count++}`, group = `${path}/${name}`;
      if (!attempt(() => Deno.mkdirSync(group))) return undefined;
      const groups = [group];
      try {
        for (const made of holders.hold(limits, name, group)) groups.push(made);
      } catch (error) {
        groups.forEach(removeGroup);
        throw error;
      }
      return {
        path: group,
        joinFiles: [`${group}/${join}`, ...groups.slice(1).map((held) => `${held}/${V1_JOIN}`)],
        isLimited: Object.keys(limits).length > 0,
        signal: (signal) => signalAll(group, signal),
        isEmpty: () => listed(group).length === 0,
        processes: () => listed(group),
        release() {
          left.push(...groups);
          removeLeft(groups.length + 1); // so that those of long-lived leftovers get their turn as well
        },
      };
    },
    [Symbol.dispose]() {
      removeLeft(left.length);
      attempt(() => Deno.removeSync(path));
      holders[Symbol.dispose]();
    },
  };
}

/** A tree that forks as fast as it is killed needs more than one pass, where the kernel can't do it at once. */
const PASSES = 20;

function signalAll(group: string, signal: Deno.Signal): void {
  if (signal !== "SIGKILL") return processesIn(group).forEach((pid) => send(pid, signal));
  if (attempt(() => writeControl(`${group}/cgroup.kill`, "1"))) return;
  for (let pass = 0; pass < PASSES; pass++) {
    const pids = processesIn(group);
    if (pids.length === 0) return;
    pids.forEach((pid) => send(pid, signal));
  }
}

function send(pid: number, signal: Deno.Signal): void {
  attempt(() => Deno.kill(pid, signal));
}

/** Only in v2 are there groups in it, and a process is in one of them alone. */
const processesIn = (group: string): number[] =>
  [...groupsIn(group), group].flatMap((one) => listProcesses(one));

/** A group for what is to have these limits; undefined where there can be none and none are wanted. */
export function createCgroup(
  cgroups: Cgroups | undefined,
  { memoryBytes, cpus, pids }: Limits = {},
): Cgroup | undefined {
  const limits: Limits = {
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(cpus !== undefined && { cpus }),
    ...(pids !== undefined && { pids }),
  };
  const cgroup = cgroups?.create(limits);
  if (!cgroup) requireNone(limits);
  return cgroup;
}

/**
 * What a shell begins with that is to be in the group: it joins by itself, so that not even its first child
 * escapes. Ends before the line's end, so that the shell counts lines as its caller does. Where it can't
 * join it goes on outside, unless there are limits to be held.
 */
export function joining(cgroup: Cgroup | undefined): string {
  if (!cgroup) return "";
  const join = cgroup.joinFiles.map((file) => `echo 0 >${quoteWord(file)}`).join(" && ");
  const otherwise = cgroup.isLimited
    ? `{ echo "openbox: the limits cannot be held" >&2; exit 126; }`
    : ":";
  return `{ ${join}; } 2>/dev/null || ${otherwise}; `;
}
