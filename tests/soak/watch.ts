/** What processes hold while a soak goes on, and whether it grew. Linux: /proc says it. */
import { slopeOf } from "../bench/stats.ts";

export interface Held {
  /** Bytes. */
  readonly memory: number;
  readonly descriptors: number;
}

export async function look(pid: number): Promise<Held> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  let descriptors = 0;
  for await (const _ of Deno.readDir(`/proc/${pid}/fd`)) descriptors++;
  return { memory: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024, descriptors };
}

/** How often its event loop was woken so far: where nothing runs, by its timers. */
export async function wakeUps(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)![1]);
}

/** One number over time. */
export class Series {
  readonly #points: [seconds: number, value: number][] = [];

  add(seconds: number, value: number): void {
    this.#points.push([seconds, value]);
  }

  get last(): number {
    return this.#points.at(-1)?.[1] ?? NaN;
  }

  /**
   * By how much it grew from the first third of the time, in which a process reaches its size, to the end:
   * the least squares' line through the least value of each window, since what a command holds while it
   * runs, and garbage that is not collected yet, comes and goes.
   */
  grown(windowSeconds: number): number {
    const end = this.#points.at(-1)?.[0] ?? 0, least = new Map<number, [number, number]>();
    for (const point of this.#points) {
      if (point[0] < end / 3) continue;
      const window = Math.floor(point[0] / windowSeconds), before = least.get(window);
      if (!before || point[1] < before[1]) least.set(window, point);
    }
    return slopeOf([...least.values()]) * (end * 2 / 3);
  }
}
