/** A started shell as a Process: its streams, its end, and the end of whatever it started. */
import process from "node:process";
import { systemClock } from "../clock.ts";
import type { Exit, Process } from "./backend.ts";
import type { StartedShell } from "./native_shell.ts";
import { type Output, readOutput } from "./output.ts";
import type { Watchdog } from "./watchdog.ts";

/** Between SIGTERM and SIGKILL: both, and the wait for the end, fit into two seconds. */
const GRACE_MS = 1_500;
/** For SIGKILL to take effect. What waits for a disk longer than that is not waited for. */
const KILL_MS = 1_000;
const POLL_MS = 10;

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
  { child, cgroup, file }: StartedShell,
  { watchdog, leftovers, onEnd }: OwnDeps,
): Process {
  const { pid } = child;
  const guard = watchdog.guard(pid, cgroup?.path);
  let exited = false, toldToEnd = false;
  const exit = exitOf(child).finally(() => exited = true);

  const quiet: Output[] = [];
  const stdout = readOutput(child.stdout, exit, (output) => quiet.push(output));
  const stderr = readOutput(child.stderr, exit, (output) => quiet.push(output));
  const goesOn = () => !exited || !stdout.ended || !stderr.ended;

  const input = child.stdin.getWriter();
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
  // where PID 1 is slow to reap, a group of zombies exists on; a cgroup does not count them
  const isGone = () => exited && (inCgroup ? cgroup!.isEmpty() : !groupExists(pid));
  async function goneWithin(ms: number): Promise<boolean> {
    for (const deadline = performance.now() + ms; !isGone();) {
      if (performance.now() > deadline) return false;
      await systemClock.sleep(POLL_MS);
    }
    return true;
  }
  async function endTree(): Promise<void> {
    toldToEnd = true;
    // once to each: a handler of SIGTERM must not run twice
    inCgroup = cgroup !== undefined && !cgroup.isEmpty();
    if (inCgroup) cgroup!.signal("SIGTERM");
    else signalGroup("SIGTERM");
    if (await goneWithin(GRACE_MS)) return;
    killTree();
    await goneWithin(KILL_MS);
  }
  const killTree = () => {
    signalGroup("SIGKILL");
    cgroup?.signal("SIGKILL");
  };
  let terminated: Promise<void> | undefined, disposed: Promise<void> | undefined;
  const terminate = () => terminated ??= endTree();

  async function dispose(): Promise<void> {
    const byItself = !goesOn() && !toldToEnd;
    if (!byItself) await terminate();
    guard[Symbol.dispose]();
    cgroup?.release();
    for (const output of [stdout, stderr]) {
      if (byItself && quiet.includes(output)) leftovers.add(output);
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
      if (signal === "SIGKILL") killTree();
      else signalGroup(signal);
    },
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
