/** A started shell as a Process: its streams, its end, and the end of whatever it started. */
import process from "node:process";
import { text } from "../../bytes.ts";
import type { Exit, Process } from "../backend.ts";
import { within } from "../within.ts";
import type { StartedShell } from "./shell.ts";
import { type Output, readOutput, silentOutput } from "../output.ts";
import type { Watchdog } from "../watchdog.ts";

/** Between SIGTERM and SIGKILL: both, and the wait for the end, fit into two seconds. */
const GRACE_MS = 1_500;
/** For SIGKILL to take effect. What waits for a disk longer than that is not waited for. */
const KILL_MS = 1_000;
const POLL_MS = 10;
/** Of the grace, for what takes a hang-up for the end, as an interactive shell does: SIGTERM it ignores. */
const HANGUP_MS = 500;

export interface OwnDeps {
  readonly watchdog: Watchdog;
  readonly leftovers: Leftovers;
  onEnd(): void;
}

const ENDING: ReadonlySet<Deno.Signal> = new Set([
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGKILL",
]);

export function ownProcess(
  { child, cgroup, file, pty }: StartedShell,
  { watchdog, leftovers, onEnd }: OwnDeps,
): Process {
  const { pid } = child;
  const guard = watchdog.guard(pid, cgroup?.path);
  let exited = false, toldToEnd = false;
  const exit = exitOf(child).finally(() => {
    exited = true;
    pty?.release();
  });

  const quiet: Output[] = [];
  const onQuiet = (output: Output) => void quiet.push(output);
  const stdout = readOutput(pty?.output ?? child.stdout, exit, onQuiet);
  const stderr = pty ? silentOutput() : readOutput(child.stderr, exit, onQuiet);
  const goesOn = () => !exited || !stdout.ended || !stderr.ended;

  const input = (pty?.input ?? child.stdin).getWriter();
  const stdin = new WritableStream<Uint8Array>({
    write: (bytes) => input.write(bytes),
    close: () => input.close(),
    abort: () => input.abort(),
  });

  /** Just started, the process may not be the leader of its group yet; once it exited, its number may be another's. */
  const signalGroup = (signal: Deno.Signal): void => {
    if (!sendSignal(-pid, signal) && !exited) sendSignal(pid, signal);
  };

  let inCgroup = false;
  /** Job control gives each job of a terminal a group of its own. */
  let jobs: readonly number[] = [];
  // where PID 1 is slow to reap, a group of zombies exists on; a cgroup does not count them
  const isGone = () => exited && (inCgroup ? cgroup!.isEmpty() : ![pid, ...jobs].some(groupExists));
  const goneWithin = (ms: number) => within(ms, isGone, POLL_MS);
  async function endTree(): Promise<void> {
    toldToEnd = true;
    // once to each: a handler of SIGTERM must not run twice
    inCgroup = cgroup !== undefined && !cgroup.isEmpty();
    if (pty) {
      if (!inCgroup) jobs = await groupsOn(pty.path);
      signalTree("SIGHUP");
      signalTree("SIGCONT"); // a job that is stopped hears it only then
      if (await goneWithin(HANGUP_MS)) return;
    }
    signalTree("SIGTERM");
    if (await goneWithin(pty ? GRACE_MS - HANGUP_MS : GRACE_MS)) return;
    await killTree();
    await goneWithin(KILL_MS);
  }
  const signalTree = (signal: Deno.Signal) => {
    if (inCgroup) return cgroup!.signal(signal);
    signalGroup(signal);
    for (const job of jobs) sendSignal(-job, signal);
  };
  const killTree = async () => {
    if (pty && !cgroup && jobs.length === 0) jobs = await groupsOn(pty.path);
    signalGroup("SIGKILL");
    cgroup?.signal("SIGKILL");
    for (const job of jobs) sendSignal(-job, "SIGKILL");
  };
  let terminated: Promise<void> | undefined, disposed: Promise<void> | undefined;
  const terminate = () => terminated ??= endTree();

  // a pipe that nobody reads ends its writer by itself, a terminal that nobody looks at does not
  pty?.abandoned.then(() => {
    if (!exited) void terminate();
  });

  async function dispose(): Promise<void> {
    const byItself = !goesOn() && !toldToEnd;
    if (!byItself) await terminate();
    guard[Symbol.dispose]();
    cgroup?.release();
    pty?.[Symbol.dispose](); // what a command left behind loses its terminal, as with ssh
    for (const output of [stdout, stderr]) {
      if (byItself && !pty && quiet.includes(output)) leftovers.add(output);
      else output.cancel();
    }
    await input.abort().catch(() => {});
    if (file !== undefined) await Deno.remove(file).catch(() => {});
    onEnd();
  }

  return {
    stdin,
    stdout: stdout.stream,
    stderr: stderr.stream,
    exit,
    kill(signal) {
      if (!goesOn()) return; // the number may be another process's by now
      if (ENDING.has(signal)) toldToEnd = true;
      if (signal === "SIGKILL") void killTree();
      else signalGroup(signal);
    },
    resize: (size) => pty?.resize(size),
    terminate,
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

export function sendSignal(target: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(target, signal);
    return true;
  } catch {
    return false; // gone, or become another user's
  }
}

export function groupExists(pgid: number): boolean {
  try {
    return process.kill(-pgid, 0);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** The process groups of a terminal's session, by its path. */
async function groupsOn(path: string): Promise<number[]> {
  const { stdout } = await new Deno.Command("/bin/ps", {
    args: ["-o", "pgid=", "-t", path.replace("/dev/", "")],
    stdin: "null",
    stderr: "null",
  }).output().catch(() => ({ stdout: new Uint8Array() }));
  return [...new Set(text(stdout).split("\n").map(Number).filter((pgid) => pgid > 1))];
}

/** How `child` ends; never rejects for anything that it does. */
export const exitOf = ({ status }: Deno.ChildProcess): Promise<Exit> =>
  status.then(readStatus, readRejection);

function readStatus({ code, signal }: Deno.CommandStatus): Exit {
  if (signal === null) return { kind: "exit", code };
  return { kind: "signal", signal: signal.slice("SIG".length), number: code - 128 };
}

/** Deno knows no realtime signals, and says so in place of the status. */
function readRejection(error: unknown): Exit {
  const number = Number(/Invalid signal: (\d+)/.exec(String(error))?.[1]);
  if (Number.isNaN(number)) throw error;
  return { kind: "signal", signal: `RT${number}`, number };
}

/** Outputs that background jobs of ended commands hold open. Each costs a descriptor, so the oldest go first. */
export class Leftovers {
  static readonly #MOST = 128;
  readonly #outputs: Output[] = [];
  add(output: Output): void {
    this.#outputs.push(output);
    if (this.#outputs.length > Leftovers.#MOST) this.#outputs.shift()!.cancel();
  }
  cancel(): void {
    for (const output of this.#outputs.splice(0)) output.cancel();
  }
}
