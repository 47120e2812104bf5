/** A shell that stays in a container, which ends with it. */
import type { AbortOptions } from "../../abort.ts";
import type { Exit, KeptShell, Shell } from "../backend.ts";
import { within } from "../within.ts";
import type { Launcher } from "../launcher.ts";
import { FAREWELL_MS, KILL_MS, ownKeptShell, type ShellTree } from "../native/kept.ts";
import { sendSignal } from "../native/process.ts";
import { openPipes } from "../native/relay.ts";
import { type Container, spawnContainer } from "./container.ts";
import { ContainerProcesses } from "./processes.ts";

/** Takes what is in `stack` as its own. */
export async function startContainerShell(
  { argv, ...place }: Shell,
  where: { readonly root: string; readonly directory: string },
  stack: AsyncDisposableStack,
  launcher: Launcher,
  options: AbortOptions,
): Promise<KeptShell> {
  const pipes = stack.use(await openPipes(where.directory, undefined));
  const container = await spawnContainer({ ...place, ...where, payload: { argv } }, launcher);
  const { child, cgroup } = container;
  if (cgroup) stack.defer(() => cgroup.release());
  stack.use(launcher.watchdog.guard(child.pid, cgroup?.path));
  const tree = new ContainerTree(container);
  const parts = { child, tree, pipes, path: undefined, account: undefined };
  const owned = stack.move();
  const { shell, noise } = ownKeptShell(parts, owned, launcher);
  try {
    await container.started(() => noise.said, options);
    return shell;
  } catch (error) {
    await shell[Symbol.asyncDispose]();
    throw error;
  }
}

const POLL_MS = 5;

class ContainerTree implements ShellTree {
  readonly exit: Promise<Exit>;
  readonly #container: Container;
  readonly #processes: ContainerProcesses;
  #ended = false;
  constructor(container: Container) {
    this.#container = container;
    this.#processes = new ContainerProcesses(container.child.pid, container.cgroup);
    this.exit = container.exit.finally(() => this.#ended = true);
  }
  async processes(): Promise<ReadonlySet<number>> {
    const { others } = await this.#processes.payload();
    return new Set(others.map(({ pid }) => pid));
  }
  interrupt(): void {
    if (!this.#ended) this.#processes.signalGroup("SIGINT").catch(() => {});
  }
  signal(pids: Iterable<number>, signal: Deno.Signal): void {
    for (const pid of pids) sendSignal(pid, signal);
  }
  kill(): void {
    if (this.#ended) return;
    this.#processes.payload().then(({ command }) => {
      if (command) sendSignal(command.pid, "SIGKILL");
    }, () => {});
  }
  async end(): Promise<void> {
    const { child, cgroup } = this.#container;
    if (!await within(FAREWELL_MS, () => this.#ended, POLL_MS)) {
      await this.#processes.kill();
      await within(KILL_MS, () => this.#ended, POLL_MS);
    }
    // nspawn itself may have been killed, and the container lives on
    if (!this.#ended) sendSignal(-child.pid, "SIGKILL");
    cgroup?.signal("SIGKILL");
    await within(KILL_MS, () => this.#ended && (cgroup?.isEmpty() ?? true), POLL_MS);
  }
}
