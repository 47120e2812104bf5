/** Who this daemon is for: the login of its home, read anew whenever that or the settings were replaced. */
import type { ExecDeps } from "../client/exec.ts";
import { generationOf } from "../ipc/generation.ts";
import { Pool } from "./pool.ts";

/** A login as the CLI reads it; `open` throws `not_logged_in` and what else a login can lack. */
export interface IdentitySource {
  open(): Promise<Identity>;
}

export interface Identity extends AsyncDisposable {
  readonly deps: ExecDeps;
  /** What the person is to be told at each call. */
  warnings(): readonly string[];
  /** People want no daemon: `daemon = "never"`. */
  readonly daemonRefused: boolean;
}

export interface Current {
  readonly generation: string;
  readonly identity: Identity;
  readonly pool: Pool;
}

export class Identities implements AsyncDisposable {
  readonly #home: string;
  readonly #source: IdentitySource;
  readonly #old = new Set<Promise<unknown>>();
  #current: { readonly generation: string; readonly opened: Promise<Current> } | undefined;

  constructor(home: string, source: IdentitySource) {
    this.#home = home;
    this.#source = source;
  }

  get generation(): string {
    return generationOf(this.#home);
  }

  /** Of the files as they are now: what was read before they were replaced is used for nothing any more. */
  async current(): Promise<Current> {
    const { generation } = this;
    if (this.#current?.generation !== generation) {
      this.#retire();
      this.#current = { generation, opened: this.#open(generation) };
    }
    const { opened } = this.#current;
    try {
      return await opened;
    } catch (error) {
      if (this.#current?.opened === opened) this.#current = undefined;
      throw error;
    }
  }

  /** What is warm, where a login was read. */
  async peek(): Promise<Current | undefined> {
    return await this.#current?.opened.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = this.#current?.opened;
    this.#current = undefined;
    if (opened) await opened.then(end, () => {});
    await Promise.all(this.#old);
  }

  async #open(generation: string): Promise<Current> {
    const identity = await this.#source.open();
    return { generation, identity, pool: new Pool(identity.deps) };
  }

  /** Runs of the one before go on to their end; it gets no new one. */
  #retire(): void {
    const opened = this.#current?.opened;
    if (!opened) return;
    const ended = opened.then(async ({ identity, pool }) => {
      pool.retire();
      await identity[Symbol.asyncDispose]();
    }, () => {});
    this.#old.add(ended);
    void ended.finally(() => this.#old.delete(ended));
  }
}

async function end({ identity, pool }: Current): Promise<void> {
  await pool[Symbol.asyncDispose]();
  await identity[Symbol.asyncDispose]();
}
