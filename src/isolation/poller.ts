/**
 * Waits for descriptors, all of them on one thread: Deno has 32 for everything that blocks, file
 * operations included, so a thread for each terminal would stop the agent at the thirty-second.
 */
import { type Libc, POLLIN, POLLOUT, SYSTEM } from "./libc.ts";
import { systemClock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";

/** A writer looks again this often at the least: not every system wakes it for each byte of room. */
const WRITER_MS = 100;

/** After a poll that failed, so that one that goes on failing costs no whole core. */
const FAILED_MS = 10;

interface Waiting {
  readonly fd: number;
  readonly events: number;
  resolve(revents: number): void;
}

export class Poller implements AsyncDisposable {
  readonly #libc: Libc;
  readonly #waiting = new Set<Waiting>();
  /** What is written to the second ends a poll that does not know yet what to wait for. */
  readonly #wake: readonly [number, number];
  #polling = false;
  #woken = false;
  #loop: Promise<void> | undefined;
  #disposed = false;

  constructor(libc: Libc) {
    this.#libc = libc;
    const ends = new Int32Array(2);
    if (libc.pipe(ends) !== 0) throw new OpenboxError("unavailable", "Cannot open a pipe");
    this.#wake = [ends[0]!, ends[1]!];
    for (const fd of this.#wake) makePrivate(libc, fd);
  }

  /** What poll(2) says of `fd` once it says something; 0 when it was forgotten instead. */
  ready(fd: number, events: number): Promise<number> {
    if (this.#disposed) return Promise.resolve(0);
    return new Promise((resolve) => {
      this.#waiting.add({ fd, events, resolve });
      this.#interrupt();
      this.#loop ??= this.#run();
    });
  }

  /** Ends what waits for it; to be called before it is closed. */
  forget(fd: number): void {
    for (const one of this.#waiting) if (one.fd === fd) this.#settle(one, 0);
    this.#interrupt();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const one of this.#waiting) this.#settle(one, 0);
    this.#interrupt();
    await this.#loop;
    for (const fd of this.#wake) this.#libc.close(fd);
  }

  #settle(one: Waiting, revents: number): void {
    this.#waiting.delete(one);
    one.resolve(revents);
  }

  #interrupt(): void {
    if (!this.#polling || this.#woken) return;
    this.#woken = true;
    this.#libc.write(this.#wake[1], new Uint8Array(1));
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      const waiting = [...this.#waiting];
      // pairs as struct pollfd has them: the descriptor, then events in the low half and revents in the high
      const fds = new Int32Array([this.#wake[0], POLLIN, ...waiting.flatMap(pollfd)]);
      const writes = waiting.some(({ events }) => (events & POLLOUT) !== 0);
      this.#polling = true;
      const count = await this.#libc.poll(fds, writes ? WRITER_MS : -1);
      this.#polling = false;
      if (count < 0) await systemClock.sleep(FAILED_MS);
      if (this.#woken) {
        this.#woken = false;
        this.#libc.read(this.#wake[0], new Uint8Array(16));
      }
      waiting.forEach((one, index) => {
        const revents = fds[2 * index + 3]! >>> 16;
        if (revents !== 0 && this.#waiting.has(one)) this.#settle(one, revents);
      });
    }
    this.#loop = undefined;
  }
}

const pollfd = ({ fd, events }: Waiting): [number, number] => [fd, events];

/** Not for the programs that are started here, and never waited for in a call. */
export function makePrivate(libc: Libc, fd: number): void {
  libc.ioctl(fd, SYSTEM.FIOCLEX, null);
  libc.ioctl(fd, SYSTEM.FIONBIO, new Uint8Array(new Int32Array([1]).buffer));
}
