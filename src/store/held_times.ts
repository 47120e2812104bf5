/**
 * Times that change with every call and matter to the second at most: held in memory, written in
 * batches. What is held stands above what the database says, also while it is being written.
 */
export class HeldTimes {
  #held = new Map<string, number>();
  #writing = new Map<string, number>();
  #flushing: Promise<void> = Promise.resolve();

  mark(id: string, at: number): void {
    this.#held.set(id, at);
  }

  /** The newest time known of `id`. */
  latest(id: string, stored: number): number {
    return Math.max(stored, this.#held.get(id) ?? 0, this.#writing.get(id) ?? 0);
  }

  /** Hands what is held to `write`, in batches; what could not be written is held on. One flush at a time. */
  flush(write: (times: readonly Held[]) => Promise<void>, batch: number): Promise<void> {
    return this.#flushing = this.#flushing.catch(() => {}).then(() => this.#flush(write, batch));
  }

  async #flush(write: (times: readonly Held[]) => Promise<void>, batch: number): Promise<void> {
    this.#writing = this.#held;
    this.#held = new Map();
    try {
      const times = [...this.#writing];
      for (let i = 0; i < times.length; i += batch) {
        const part = times.slice(i, i + batch);
        await write(part);
        for (const [id] of part) this.#writing.delete(id);
      }
    } finally {
      for (const [id, at] of this.#writing) this.#held.set(id, this.latest(id, at));
      this.#writing = new Map();
    }
  }
}

export type Held = readonly [id: string, at: number];
