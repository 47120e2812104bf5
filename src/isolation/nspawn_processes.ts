/**
 * The processes of a container, by the machine's numbers. nspawn, its PID 1 and our first shell are the
 * container itself: signals for the payload are not for them.
 */
import type { Cgroup } from "./cgroup.ts";
import { sendSignal } from "./native_process.ts";
import { listDescendants, type ProcessEntry, readProcess } from "./process_list.ts";

export class ContainerProcesses {
  readonly #nspawn: number;
  readonly #cgroup: Cgroup | undefined;
  #init: number | undefined;
  #first: number | undefined;
  constructor(nspawn: number, cgroup: Cgroup | undefined) {
    this.#nspawn = nspawn;
    this.#cgroup = cgroup;
  }

  /** What the first shell started, whatever became of its parents. */
  async payload(): Promise<readonly ProcessEntry[]> {
    const entries = await this.#entries();
    if (this.#first === undefined) this.#find(entries);
    return entries.filter(({ pid, parent }) => pid !== this.#first && parent !== this.#nspawn);
  }
  /** The payload's own process. */
  async command(): Promise<ProcessEntry | undefined> {
    return (await this.payload()).find(({ parent }) => parent === this.#first);
  }
  /** To the group that the payload's own process is in. */
  async signalGroup(signal: Deno.Signal): Promise<void> {
    const payload = await this.payload();
    const command = payload.find(({ parent }) => parent === this.#first);
    for (const { pid, group } of payload) if (group === command?.group) sendSignal(pid, signal);
  }
  async signal(signal: Deno.Signal): Promise<void> {
    for (const { pid } of await this.payload()) sendSignal(pid, signal);
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
