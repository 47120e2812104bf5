/**
 * The processes of a container, by the machine's numbers. nspawn, its PID 1 and our first shell are the
 * container itself: signals for the payload are not for them.
 */
import type { Cgroup } from "../cgroup.ts";
import { sendSignal } from "../native/process.ts";
import { listDescendants, type ProcessEntry, readProcess } from "../process_list.ts";

export interface Payload {
  /** Undefined before it is there, and once it has ended. */
  readonly command: ProcessEntry | undefined;
  readonly others: readonly ProcessEntry[];
}

export class ContainerProcesses {
  readonly #nspawn: number;
  readonly #cgroup: Cgroup | undefined;
  #init: number | undefined;
  #first: number | undefined;
  constructor(nspawn: number, cgroup: Cgroup | undefined) {
    this.#nspawn = nspawn;
    this.#cgroup = cgroup;
  }

  /** The payload's own process, and what it started, whatever became of their parents. */
  async payload(): Promise<Payload> {
    const entries = await this.#entries();
    if (this.#first === undefined) this.#find(entries);
    const all = entries.filter(({ pid, parent }) => pid !== this.#first && parent !== this.#nspawn);
    const command = all.find(({ parent }) => parent === this.#first);
    return { command, others: all.filter((entry) => entry !== command) };
  }
  /** To the group that the payload's own process is in. */
  async signalGroup(signal: Deno.Signal): Promise<void> {
    const { command, others } = await this.payload();
    if (!command) return;
    for (const { pid, group } of [command, ...others]) {
      if (group === command.group) sendSignal(pid, signal);
    }
  }
  async signal(signal: Deno.Signal): Promise<void> {
    const { command, others } = await this.payload();
    for (const { pid } of command ? [command, ...others] : others) sendSignal(pid, signal);
  }
  /** All at once: the kernel ends the rest with PID 1, and nspawn puts away what it made. */
  async kill(): Promise<void> {
    await this.payload();
    if (this.#init !== undefined) sendSignal(this.#init, "SIGKILL");
  }

  async #entries(): Promise<ProcessEntry[]> {
    const inGroup = this.#cgroup?.processes() ?? [];
    const pids = inGroup.length > 0 ? inGroup : await listDescendants(this.#nspawn);
    return pids.filter((pid) => pid !== this.#nspawn).flatMap((pid) => readProcess(pid) ?? []);
  }
  /** The first of PID 1's children, which ends last: those that lost their parent are its children as well. */
  #find(entries: readonly ProcessEntry[]): void {
    this.#init = entries.find(({ parent }) => parent === this.#nspawn)?.pid;
    const [first] = entries.filter(({ parent }) => parent === this.#init)
      .sort((a, b) => a.startedAt - b.startedAt || a.pid - b.pid);
    this.#first = first?.pid;
  }
}
