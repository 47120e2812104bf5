/**
 * Pseudo-terminals: a screen's size, bytes both ways, and a path that the leader of a session opens to
 * have it as its controlling terminal. Which program that is, and how it ends, is native/'s.
 */
import { text, utf8 } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import type { ScreenSize } from "./backend.ts";
import { type Libc, O_RDWR, openLibc, POLL_ENDED, POLLIN, POLLOUT, SYSTEM } from "./libc.ts";
import { makePrivate, Poller } from "./poller.ts";

/** Disposing it closes our side: what still has the terminal open is hung up on. Idempotent. */
export interface Pty extends Disposable {
  /** Where its programs find it, such as `/dev/pts/3`. */
  readonly path: string;
  /** What its programs print; byte stream. Ends once the last program has closed it, after `release`. */
  readonly output: ReadableStream<Uint8Array>;
  /** Resolves when the reader of `output` has given it up. */
  readonly abandoned: Promise<void>;
  /** What is typed. A write resolves once the terminal took all of it, and rejects when nobody has it open. */
  readonly input: WritableStream<Uint8Array>;
  resize(size: ScreenSize): void;
  /**
   * Until then it is kept open from here: its output must not end before its first program has opened it,
   * nor lose what was printed last. To be called once the program is gone.
   */
  release(): void;
}

/** All terminals of this process; disposing it closes them. */
export interface Ptys extends AsyncDisposable {
  /** Throws `unavailable` where the system gives none. */
  open(size: ScreenSize): Pty;
}

/** Throws `unavailable` where the C library is not to be had. */
export function openPtys(): Ptys {
  const libc = loadLibc();
  const poller = new Poller(libc);
  const opened = new Set<Pty>();
  return {
    open(size) {
      const pty = openPty(size, libc, poller, () => opened.delete(pty));
      opened.add(pty);
      return pty;
    },
    async [Symbol.asyncDispose]() {
      for (const pty of opened) pty[Symbol.dispose]();
      await poller[Symbol.asyncDispose]();
      libc[Symbol.dispose]();
    },
  };
}

function loadLibc(): Libc {
  try {
    return openLibc();
  } catch (cause) {
    const message = `Cannot use terminals: ${(cause as Error).message}`;
    throw new OpenboxError("unavailable", message, { hint: WITHOUT, cause });
  }
}

const WITHOUT = "-T runs a command without a terminal";

function openPty(size: ScreenSize, libc: Libc, poller: Poller, onClose: () => void): Pty {
  const { master, slave, path } = openPair(libc);
  const abandoned = Promise.withResolvers<void>();
  let held = true, closed = false;
  const release = () => {
    if (held) libc.close(slave);
    held = false;
  };
  const resize = ({ cols, rows }: ScreenSize) => {
    if (closed) return;
    const winsize = new Uint8Array(new Uint16Array([rows, cols, 0, 0]).buffer);
    libc.ioctl(master, SYSTEM.TIOCSWINSZ, winsize);
  };
  resize(size);
  expectUtf8(libc, slave);

  async function read(into: Uint8Array<ArrayBuffer>): Promise<number> {
    while (!closed) {
      const count = libc.read(master, into);
      if (count > 0) return fill(into, count);
      const revents = await poller.ready(master, POLLIN);
      // hung up, and nothing left to read: an end of file, which Linux tells as an error
      if ((revents & POLLIN) === 0 && (revents & POLL_ENDED) !== 0) break;
    }
    return 0;
  }
  /** A read gives 4 KiB at most on Linux, however much there is. */
  function fill(into: Uint8Array<ArrayBuffer>, start: number): number {
    let at = start;
    while (at < into.length) {
      const count = libc.read(master, into.subarray(at));
      if (count <= 0) break;
      at += count;
    }
    return at;
  }

  async function write(bytes: Uint8Array): Promise<void> {
    const all = new Uint8Array(bytes); // the caller may use its buffer again
    for (let at = 0; at < all.length;) {
      if (closed) throw new Error("the terminal is closed");
      const count = libc.write(master, all.subarray(at));
      if (count > 0) {
        at += count;
        continue;
      }
      const revents = await poller.ready(master, POLLOUT);
      if ((revents & POLL_ENDED) !== 0) throw new Error("nobody has the terminal open");
    }
  }

  return {
    path,
    output: new ReadableStream({
      type: "bytes",
      async pull(controller) {
        const { byobRequest } = controller;
        const view = byobRequest?.view as Uint8Array<ArrayBuffer> | undefined;
        const into = view ?? new Uint8Array(CHUNK);
        const count = await read(into);
        if (count === 0) controller.close();
        if (byobRequest) byobRequest.respond(count);
        else if (count > 0) controller.enqueue(into.subarray(0, count));
      },
      cancel: () => abandoned.resolve(),
    }),
    abandoned: abandoned.promise,
    input: new WritableStream({ write }),
    resize,
    release,
    [Symbol.dispose]() {
      if (closed) return;
      closed = true;
      release();
      poller.forget(master);
      libc.close(master);
      onClose();
    },
  };
}

const CHUNK = 16 * 1024;

function openPair(libc: Libc): { master: number; slave: number; path: string } {
  // this process may lead a session without a terminal: it must not get this one as its own
  const flags = O_RDWR | SYSTEM.O_NOCTTY;
  const master = libc.posix_openpt(flags);
  if (master < 0) throw noTerminal();
  makePrivate(libc, master);
  const name = new Uint8Array(128);
  const ready = libc.grantpt(master) === 0 && libc.unlockpt(master) === 0 &&
    libc.ptsname_r(master, name) === 0;
  const path = text(name.subarray(0, name.indexOf(0)));
  const slave = ready ? libc.open(utf8(`${path}\0`), flags) : -1;
  if (slave < 0) {
    libc.close(master);
    throw noTerminal();
  }
  makePrivate(libc, slave);
  return { master, slave, path };
}

const noTerminal = () =>
  new OpenboxError("unavailable", "Cannot open a terminal", {
    hint: `the node is out of terminals or descriptors; ${WITHOUT}`,
  });

/** c_iflag, the first word of struct termios, and a bit of it: both the same on Linux and macOS. */
const IUTF8 = 0x4000, TERMIOS_BYTES = 256;

/** So that a backspace takes away a character and not the last byte of one, where a program reads whole lines. */
function expectUtf8(libc: Libc, slave: number): void {
  const termios = new Uint8Array(TERMIOS_BYTES);
  if (libc.tcgetattr(slave, termios) !== 0) return;
  const view = new DataView(termios.buffer);
  view.setUint32(0, view.getUint32(0, true) | IUTF8, true);
  libc.tcsetattr(slave, termios);
}
