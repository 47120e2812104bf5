import { abortReason } from "../../src/abort.ts";
import type { Clock } from "../../src/clock.ts";

/** A clock that stands still until the test moves it. */
export class FakeClock implements Clock {
  #now: number;
  #sleepers: { readonly at: number; wake(): void }[] = [];
  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }
  now(): number {
    return this.#now;
  }
  sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortReason(signal));
      const sleeper = { at: this.#now + ms, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(abortReason(signal));
      }, { once: true });
    });
  }
  /** How many sleeps wait. */
  get sleeping(): number {
    return this.#sleepers.length;
  }
  /** Moves time forward and wakes, in order, what is due. */
  advance(ms: number): void {
    this.#now += ms;
    const due = this.#sleepers.filter((sleeper) => sleeper.at <= this.#now);
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.at > this.#now);
    for (const sleeper of due.sort((a, b) => a.at - b.at)) sleeper.wake();
  }
}
