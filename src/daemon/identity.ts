/** Who this daemon is for: the login of its home, read anew whenever that or the settings were replaced. */
import type { ExecDeps } from "../client/exec.ts";
import { generationOf, settingsOf } from "../ipc/generation.ts";
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

/** A login in use: it is given up once it is replaced and nobody uses it any more. */
export class Current {
  readonly generation: string;
  readonly identity: Identity;
  readonly pool: Pool;
  readonly #unused = Promise.withResolvers<void>();
  #users = 0;
  #retired = false;

  constructor(generation: string, identity: Identity) {
    this.generation = generation;
    this.identity = identity;
    this.pool = new Pool(identity.deps);
  }

  /** Whoever calls with it says so; it stays whole until that is disposed. */
  use(): Disposable {
    this.#users++;
    return {
      [Symbol.dispose]: () => {
        this.#users--;
        this.#check();
      },
    };
  }

  /** Resolves once nobody uses it. Its warm connections go with their last runs. */
  async retire(): Promise<void> {
    this.#retired = true;
    this.pool.retire();
    this.#check();
    await this.#unused.promise;
    await this.identity[Symbol.asyncDispose]();
  }

  #check(): void {
    if (this.#retired && this.#users === 0) this.#unused.resolve();
  }
}

export class Identities implements AsyncDisposable {
  readonly #home: string;
  readonly #source: IdentitySource;
  readonly #old = new Set<Promise<unknown>>();
  #current: { readonly stamp: string; readonly opened: Promise<Current> } | undefined;

  constructor(home: string, source: IdentitySource) {
    this.#home = home;
    this.#source = source;
  }

  /** Of the login as it is now. */
  get generation(): string {
    return generationOf(this.#home);
  }

  /** Of the files as they are now: what was read before they were replaced is used for nothing any more. */
  async current(): Promise<Current> {
    const { generation } = this, stamp = `${generation} ${settingsOf(this.#home)}`;
    if (this.#current?.stamp !== stamp) {
      this.#retire();
      this.#current = { stamp, opened: this.#open(generation) };
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
    return new Current(generation, await this.#source.open());
  }

  /** Runs of the one before go on to their end; it gets no new one. */
  #retire(): void {
    const opened = this.#current?.opened;
    if (!opened) return;
    const ended = opened.then((current) => current.retire(), () => {});
    this.#old.add(ended);
    void ended.finally(() => this.#old.delete(ended));
  }
}

/** All clients are gone. */
async function end(current: Current): Promise<void> {
  await current.pool[Symbol.asyncDispose]();
  await current.retire();
}
