/** Who uses a directory tree when: one at a time, or several that leave it as it is. First come, first served. */
import { type AbortOptions, deadline } from "../../abort.ts";
import { OpenboxError } from "../../errors.ts";

export interface TreeUse {
  /** It leaves the tree as it is, so others that do may use it at the same time. */
  readonly shared: boolean;
  /** It may go on for hours: nobody waits for its end. */
  readonly long: boolean;
}

/** How long a run waits for those before it. */
const WAIT_MS = 10 * 60_000;

interface Waiting extends TreeUse {
  begin(): void;
  refuse(error: Error): void;
}

interface Tree {
  readonly users: Set<TreeUse>;
  readonly waiting: Waiting[];
}

export class TreeQueue {
  readonly #trees = new Map<string, Tree>();
  readonly #waitMs: number;
  constructor({ waitMs = WAIT_MS }: { waitMs?: number } = {}) {
    this.#waitMs = waitMs;
  }

  /** Throws `conflict` where something long has it, `too_many` where it took too long. Dispose it to let the next one in. */
  async enter(root: string, use: TreeUse, options: AbortOptions): Promise<Disposable> {
    const tree = this.#trees.get(root) ?? { users: new Set(), waiting: [] };
    this.#trees.set(root, tree);
    const late = () =>
      new OpenboxError("too_many", `${root} was busy with other commands all the time`, {
        hint: "--volatile runs beside others that do, and leaves the tree as it is",
      });
    using limit = deadline(this.#waitMs, late, options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { ...use, begin: resolve, refuse: reject };
    const giveUp = () => {
      const at = tree.waiting.indexOf(waiting);
      if (at >= 0) tree.waiting.splice(at, 1);
      reject(limit.signal.reason);
      this.#advance(root, tree);
    };
    limit.signal.addEventListener("abort", giveUp, { once: true });
    tree.waiting.push(waiting);
    if (limit.signal.aborted) giveUp();
    this.#advance(root, tree);
    await promise.finally(() => limit.signal.removeEventListener("abort", giveUp));
    return {
      [Symbol.dispose]: () => {
        if (tree.users.delete(waiting)) this.#advance(root, tree);
      },
    };
  }

  #advance(root: string, { users, waiting }: Tree): void {
    for (let next; (next = waiting[0]);) {
      const fit = fits(next, users);
      if (!fit && ![...users].some(({ long }) => long)) break;
      waiting.shift();
      if (!fit) {
        next.refuse(held(root));
        continue;
      }
      users.add(next);
      next.begin();
    }
    if (users.size === 0 && waiting.length === 0) this.#trees.delete(root);
  }
}

const fits = (next: TreeUse, users: ReadonlySet<TreeUse>): boolean =>
  users.size === 0 || (next.shared && [...users].every(({ shared }) => shared));

const held = (root: string) =>
  new OpenboxError("conflict", `A session has ${root} for itself`, {
    hint: "openbox sessions shows which; run the command in it with -s, or end it",
  });
