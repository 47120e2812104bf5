/** How much of one stream may still be sent: the receiving end says what it has read. */
import { WINDOW } from "./frames.ts";

export class Window {
  #room = WINDOW;
  #waiting: (() => void) | undefined;
  #closed = false;

  /** How many of `wanted` bytes may leave now; waits while none may. 0 once it is closed. */
  async take(wanted: number): Promise<number> {
    while (this.#room === 0 && !this.#closed) {
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
    if (this.#closed) return 0;
    const taken = Math.min(wanted, this.#room);
    this.#room -= taken;
    return taken;
  }

  /** False where more is granted than was sent: the other end cannot count. */
  grant(bytes: number): boolean {
    if (this.#room + bytes > WINDOW) return false;
    this.#room += bytes;
    this.#wake();
    return true;
  }

  /** Nothing leaves any more. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

/** Tells the sending end of what was read, not byte by byte. */
export class ReadCount {
  readonly #tell: (bytes: number) => void;
  #read = 0;

  constructor(tell: (bytes: number) => void) {
    this.#tell = tell;
  }

  add(bytes: number): void {
    this.#read += bytes;
    if (this.#read < WINDOW / 4) return;
    this.#tell(this.#read);
    this.#read = 0;
  }
}
