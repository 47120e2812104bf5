/**
 * A network namespace at the end of a line on which every packet takes its time, each way. netem would do the
 * same, but many kernels come without it, those of containers and small virtual machines above all. Here two
 * devices of the kernel's TUN are the ends, and this program, which is started for it, carries what is between.
 */
import { type Libc, openLibc, POLLIN } from "../../src/isolation/libc.ts";

export interface Far extends AsyncDisposable {
  /** Of the other end. */
  readonly address: string;
  /** What starts a program there: words before it. */
  readonly wrapper: readonly string[];
}

/** For measurements of networks (RFC 2544): no real network has them. */
const NEAR = "198.18.77.1", FAR = "198.18.77.2";

/** Undefined where it takes a right or a device that is not there. */
export async function openFar(oneWayMs: number): Promise<Far | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return undefined;
  const namespace = `openbox-bench-${Deno.pid}`;
  const program = [Deno.execPath(), "run", "-A", "--quiet", "--no-check", import.meta.url];
  // a line waits for no processor
  const child = new Deno.Command("nice", {
    args: ["-n", "-20", ...program, namespace, String(oneWayMs)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const close = async () => {
    await child.stdin.close().catch(() => {});
    await child.stdout.cancel();
    await child.status;
  };
  const reader = child.stdout.getReader(), { done } = await reader.read();
  reader.releaseLock();
  if (done) {
    await close();
    return undefined;
  }
  return {
    address: FAR,
    wrapper: ["ip", "netns", "exec", namespace],
    [Symbol.asyncDispose]: close,
  };
}

/** Of linux/if_tun.h and fcntl.h. */
const TUNSETIFF = 0x400454can, IFF_TUN_NO_PI = 0x1001, O_RDWR_NONBLOCK = 0o4002;
const MTU = 1500;

if (import.meta.main) {
  await serve(Deno.args[0]!, Number(Deno.args[1]));
  Deno.exit();
}

async function serve(namespace: string, oneWayMs: number): Promise<void> {
  const libc = openLibc(), near = openTun(libc, "obxnear"), far = openTun(libc, "obxfar");
  await ip("netns", "add", namespace);
  try {
    await ip("link", "set", "obxfar", "netns", namespace);
    await ip("addr", "add", NEAR, "peer", FAR, "dev", "obxnear");
    await ip("link", "set", "obxnear", "up");
    await ip("-n", namespace, "addr", "add", FAR, "peer", NEAR, "dev", "obxfar");
    for (const device of ["obxfar", "lo"]) await ip("-n", namespace, "link", "set", device, "up");
    void carry(libc, near, far, oneWayMs);
    void carry(libc, far, near, oneWayMs);
    await Deno.stdout.write(new TextEncoder().encode("open\n"));
    for await (const _ of Deno.stdin.readable); // until whoever started us ends
  } finally {
    await ip("netns", "del", namespace);
  }
}

function openTun(libc: Libc, name: string): number {
  const fd = libc.open(new TextEncoder().encode("/dev/net/tun\0"), O_RDWR_NONBLOCK);
  const request = new Uint8Array(40);
  new TextEncoder().encodeInto(name, request);
  new DataView(request.buffer).setUint16(16, IFF_TUN_NO_PI, true);
  if (fd < 0 || libc.ioctl(fd, TUNSETIFF, request) < 0) throw new Error("no /dev/net/tun");
  return fd;
}

/** Their order stays: timers of one length end in the order in which they began. */
async function carry(libc: Libc, from: number, to: number, ms: number): Promise<void> {
  const packet = new Uint8Array(MTU), fds = new Int32Array([from, POLLIN]);
  for (;;) {
    await libc.poll(fds, -1);
    for (let length; (length = libc.read(from, packet)) > 0;) {
      const kept = packet.slice(0, length);
      setTimeout(() => libc.write(to, kept), ms);
    }
  }
}

async function ip(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args }).output();
  if (!success) throw new Error(`ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
