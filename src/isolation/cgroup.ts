/**
 * A Linux control group for each run. A process leaves its process group by setsid, but not its cgroup:
 * by that the whole tree of a run can be found and ended. Where there are none (macOS, no rights, no
 * hierarchy that may be written) a run has its process group alone.
 */
import { text } from "../bytes.ts";

export interface Cgroup {
  readonly path: string;
  /** A process that writes `0` into it is in the group from then on, with all that it starts. */
  readonly joinFile: string;
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
  /** Undefined where none can be made just now. */
  create(): Cgroup | undefined;
}

/**
 * Below the cgroup of this process, so that limits set on the agent hold for its runs. `own` is the text of
 * /proc/self/cgroup.
 */
export async function openCgroups(own?: string): Promise<Cgroups | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  for (const { directory, join } of hierarchies(own ?? await readOwn())) {
    sweep(directory);
    const path = `${directory}/${PREFIX}${Deno.pid}.${crypto.randomUUID().slice(0, 8)}`;
    if (!attempt(() => Deno.mkdirSync(path))) continue;
    if (await canJoin(`${path}/${join}`)) return createCgroups(path, join);
    attempt(() => Deno.removeSync(path));
  }
  return undefined;
}

const PREFIX = "openbox.";

interface Hierarchy {
  readonly directory: string;
  readonly join: string;
}

/**
 * Where to try, best first. v1's `tasks` takes a single-threaded shell in 0.1 ms; `cgroup.procs` waits
 * for a grace period of the kernel, 12 ms on an idle machine (measured on Linux 6.18).
 */
function hierarchies(own: string): Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const line of own.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    // the watchdog keeps paths in one word of its shell
    if (controllers === undefined || path === undefined || /[\s*?[\\:]/.test(path)) continue;
    const mounts = controllers === ""
      ? [ROOT, `${ROOT}/unified`]
      : controllers.split(",").includes("pids")
      ? [`${ROOT}/pids`]
      : [];
    const join = controllers === "" ? "cgroup.procs" : "tasks";
    for (const mount of mounts) {
      // in a container the path may be the host's, which is not to be seen from within
      for (const at of path === "/" ? [""] : [path, ""]) {
        found.push({ directory: mount + at, join });
      }
    }
  }
  return found.sort((a, b) =>
    Number(a.join === "cgroup.procs") - Number(b.join === "cgroup.procs")
  );
}

const ROOT = "/sys/fs/cgroup";

async function readOwn(): Promise<string> {
  try {
    return await Deno.readTextFile("/proc/self/cgroup");
  } catch {
    return ""; // Deno shows it only to a process with all permissions
  }
}

/** Removes what agents that were killed left empty. */
function sweep(directory: string): void {
  attempt(() => {
    for (const { name } of Deno.readDirSync(directory)) {
      const pid = Number(/^openbox\.(\d+)\./.exec(name)?.[1] ?? NaN);
      if (Number.isNaN(pid) || isAlive(pid)) continue;
      attempt(() => {
        for (const run of Deno.readDirSync(`${directory}/${name}`)) {
          if (run.isDirectory) attempt(() => Deno.removeSync(`${directory}/${name}/${run.name}`));
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

function createCgroups(path: string, join: string): Cgroups {
  let count = 0;
  /** Released, and not empty when last seen. */
  const left: string[] = [];
  const removeLeft = (many: number) => {
    for (const old of left.splice(0, many)) if (!remove(old)) left.push(old);
  };
  return {
    path,
    create() {
      const group = `${path}/${count++}`;
      if (!attempt(() => Deno.mkdirSync(group))) return undefined;
      return {
        path: group,
        joinFile: `${group}/${join}`,
        signal: (signal) => signalAll(group, signal),
        isEmpty: () => processes(group).length === 0,
        processes: () => processes(group),
        release() {
          left.push(group);
          removeLeft(2); // so that those of long-lived leftovers get their turn as well
        },
      };
    },
    [Symbol.dispose]() {
      removeLeft(left.length);
      attempt(() => Deno.removeSync(path));
    },
  };
}

/** False while there is a process in it. */
function remove(group: string): boolean {
  try {
    Deno.removeSync(group);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/** A tree that forks as fast as it is killed needs more than one pass, where the kernel can't do it at once. */
const PASSES = 20;

function signalAll(group: string, signal: Deno.Signal): void {
  if (signal !== "SIGKILL") return processes(group).forEach((pid) => send(pid, signal));
  if (attempt(() => writeFile(`${group}/cgroup.kill`, "1"))) return;
  for (let pass = 0; pass < PASSES; pass++) {
    const pids = processes(group);
    if (pids.length === 0) return;
    pids.forEach((pid) => send(pid, signal));
  }
}

function send(pid: number, signal: Deno.Signal): void {
  attempt(() => Deno.kill(pid, signal));
}

/** Those directly in the group; empty where it is gone. */
function processes(group: string): number[] {
  try {
    return text(Deno.readFileSync(`${group}/cgroup.procs`)).split("\n").map(Number).filter((pid) =>
      pid > 0 // 0, of another PID namespace, would be our own group to kill
    );
  } catch {
    return [];
  }
}

/** Never makes the file: kernels before 5.14 have no cgroup.kill. */
function writeFile(path: string, content: string): void {
  Deno.writeTextFileSync(path, content, { create: false });
}

/** Whether it could be done; these files come and go under us. */
function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}
