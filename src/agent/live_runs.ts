/** What runs on this node now, and for whom: to be ended by itself, or with the agent. */
import type { VerifiedUser } from "../ca/verifier.ts";
import type { OpenboxError } from "../errors.ts";

interface Run {
  readonly user: VerifiedUser;
  readonly stopping: AbortController;
  readonly done: Promise<void>;
}

/** Disposing it ends all, and waits until nothing goes on. */
export class LiveRuns implements AsyncDisposable {
  readonly #runs = new Set<Run>();

  /** `serve` ends what it runs when its signal aborts; an OpenboxError as reason is told to whoever asked. */
  async hold(user: VerifiedUser, serve: (stopping: AbortSignal) => Promise<void>): Promise<void> {
    const stopping = new AbortController();
    const run: Run = { user, stopping, done: serve(stopping.signal) };
    this.#runs.add(run);
    await run.done.finally(() => this.#runs.delete(run));
  }

  /** How many are of users that `which` picks. */
  count(which: (user: VerifiedUser) => unknown): number {
    return [...this.#runs].filter(({ user }) => which(user)).length;
  }

  /** Ends those that there is a reason for, and resolves once they have ended, and told so. */
  async end(why: (user: VerifiedUser) => OpenboxError | undefined): Promise<void> {
    const ending: Promise<void>[] = [];
    for (const { user, stopping, done } of this.#runs) {
      const reason = why(user);
      if (!reason) continue;
      stopping.abort(reason);
      ending.push(done);
    }
    await Promise.allSettled(ending);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { stopping } of this.#runs) stopping.abort(new Error("the agent ends"));
    await Promise.allSettled([...this.#runs].map(({ done }) => done));
  }
}
