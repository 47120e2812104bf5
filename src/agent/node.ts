import { type NodeState, writeNodeState } from "./state.ts";

/** What this node is by now, for all parts of the agent; what changes is on disk before it is used. */
export class LiveNode {
  /** How far this machine's clock is ahead of the control plane's, once a heartbeat said it. */
  clockAheadMs: number | undefined;
  readonly #path: string;
  #state: NodeState;

  constructor(path: string, state: NodeState) {
    this.#path = path;
    this.#state = state;
  }

  get state(): NodeState {
    return this.#state;
  }

  async update(change: Partial<NodeState>): Promise<void> {
    const changed = { ...this.#state, ...change };
    await writeNodeState(this.#path, changed);
    this.#state = changed;
  }

  /** Holds at once, whether or not it can be written. */
  async remove(): Promise<void> {
    this.#state = { ...this.#state, removed: true };
    await writeNodeState(this.#path, this.#state);
  }
}
