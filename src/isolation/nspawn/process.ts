/** A command in a container as a Process: signals for what it started, and the end of all of it. */
import type { Process } from "../backend.ts";
import { within } from "../within.ts";
import type { Container } from "./container.ts";
import { ContainerProcesses } from "./processes.ts";

/** Between SIGTERM and SIGKILL, as of a native command; on a terminal a hang-up comes before. */
const GRACE_MS = 1_500, HANGUP_MS = 500, POLL_MS = 10;
/** For nspawn to put away what it made. */
const KILL_MS = 1_000;

/** `nspawn` is the container's own process, which ends when the command has. */
export function ownContainer(nspawn: Process, container: Container): Process {
  const { child, cgroup, pty } = container;
  const processes = new ContainerProcesses(child.pid, cgroup);
  let ended = false;
  const exit = container.exit.finally(() => ended = true);
  const endedWithin = (ms: number) => within(ms, () => ended, POLL_MS);
  async function endAll(): Promise<void> {
    if (pty) {
      await processes.signal("SIGHUP");
      await processes.signal("SIGCONT"); // a job that is stopped hears it only then
      if (await endedWithin(HANGUP_MS)) return;
    }
    await processes.signal("SIGTERM");
    if (await endedWithin(pty ? GRACE_MS - HANGUP_MS : GRACE_MS)) return;
    await processes.kill();
    if (await endedWithin(KILL_MS)) return;
    await nspawn.terminate();
  }
  let terminated: Promise<void> | undefined, disposed: Promise<void> | undefined;
  const terminate = () => terminated ??= endAll();
  // one after another, in the order in which they were asked for
  let signals = Promise.resolve();
  const next = (send: () => Promise<void>) => {
    signals = signals.then(async () => {
      if (!ended) await send();
    }).catch(() => {});
  };
  async function dispose(): Promise<void> {
    if (!ended) await terminate();
    await nspawn[Symbol.asyncDispose]();
  }
  return {
    stdin: nspawn.stdin,
    stdout: nspawn.stdout,
    stderr: nspawn.stderr,
    exit,
    kill(signal) {
      next(() => signal === "SIGKILL" ? processes.kill() : processes.signalGroup(signal));
    },
    resize: (size) => nspawn.resize(size),
    terminate,
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}
