/**
 * The few calls of the C library that terminals need and Deno lacks. Loaded on the first terminal, since
 * most agents never open one. The numbers for macOS are those of Apple's headers (sys/ttycom.h,
 * sys/filio.h, sys/fcntl.h); openbox's terminals were not run there yet.
 */

const IS_MAC = Deno.build.os === "darwin";

/** Of open(2) and ioctl(2); what is not here is the same on both systems. */
export const SYSTEM = IS_MAC
  ? {
    O_NOCTTY: 0x20000,
    FIOCLEX: 0x20006601n,
    FIONBIO: 0x8004667en,
    TIOCSWINSZ: 0x80087467n,
  }
  : { O_NOCTTY: 0o400, FIOCLEX: 0x5451n, FIONBIO: 0x5421n, TIOCSWINSZ: 0x5414n };
export const O_RDWR = 2;
export const POLLIN = 0x1, POLLOUT = 0x4;
/** What poll(2) tells unasked: an error, the other side gone, no such descriptor. */
export const POLL_ENDED = 0x8 | 0x10 | 0x20;

/**
 * ioctl(2) is variadic. On Apple's arm64 such arguments go on the stack, behind eight registers that are
 * filled first; everywhere else they pass as any others.
 */
const FILLING = IS_MAC && Deno.build.arch === "aarch64" ? 6 : 0;
const filling = Array<0n>(FILLING).fill(0n);

const SYMBOLS = {
  posix_openpt: { parameters: ["i32"], result: "i32" },
  grantpt: { parameters: ["i32"], result: "i32" },
  unlockpt: { parameters: ["i32"], result: "i32" },
  ptsname_r: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  pipe: { parameters: ["buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  tcgetattr: { parameters: ["i32", "buffer"], result: "i32" },
  tcsetattr: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  ioctl: {
    parameters: ["i32", "u64", ...Array<"u64">(FILLING).fill("u64"), "buffer"],
    result: "i32",
  },
  /** On a thread of its own. */
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
} as const;

/** As in C, with -1 for a failure. `read` and `write` never wait on the descriptors that are opened here. */
export interface Libc extends Disposable {
  posix_openpt(flags: number): number;
  grantpt(fd: number): number;
  unlockpt(fd: number): number;
  /** 0 where the name is in `name`, with a NUL behind it. */
  ptsname_r(fd: number, name: Uint8Array<ArrayBuffer>): number;
  open(path: Uint8Array<ArrayBuffer>, flags: number): number;
  close(fd: number): void;
  pipe(fds: Int32Array<ArrayBuffer>): number;
  read(fd: number, into: Uint8Array<ArrayBuffer>): number;
  write(fd: number, bytes: Uint8Array<ArrayBuffer>): number;
  tcgetattr(fd: number, termios: Uint8Array<ArrayBuffer>): number;
  /** At once. */
  tcsetattr(fd: number, termios: Uint8Array<ArrayBuffer>): number;
  ioctl(fd: number, request: bigint, argument: Uint8Array<ArrayBuffer> | null): number;
  /** `fds` must not change until it resolves. */
  poll(fds: Int32Array<ArrayBuffer>, ms: number): Promise<number>;
}

export function openLibc(): Libc {
  const library = Deno.dlopen(IS_MAC ? "libSystem.B.dylib" : "libc.so.6", SYMBOLS);
  const c = library.symbols;
  // as many arguments as the platform's own form has, which no type can say
  const ioctl = c.ioctl as unknown as (...args: unknown[]) => number;
  return {
    posix_openpt: (flags) => c.posix_openpt(flags),
    grantpt: (fd) => c.grantpt(fd),
    unlockpt: (fd) => c.unlockpt(fd),
    ptsname_r: (fd, name) => c.ptsname_r(fd, name, BigInt(name.length)),
    open: (path, flags) => c.open(path, flags),
    close: (fd) => void c.close(fd),
    pipe: (fds) => c.pipe(new Uint8Array(fds.buffer)),
    read: (fd, into) => Number(c.read(fd, into, BigInt(into.length))),
    write: (fd, bytes) => Number(c.write(fd, bytes, BigInt(bytes.length))),
    tcgetattr: (fd, termios) => c.tcgetattr(fd, termios),
    tcsetattr: (fd, termios) => c.tcsetattr(fd, 0, termios),
    ioctl: (fd, request, argument) => ioctl(fd, request, ...filling, argument),
    poll: (fds, ms) => c.poll(new Uint8Array(fds.buffer), BigInt(fds.length / 2), ms),
    [Symbol.dispose]: () => library.close(),
  };
}
