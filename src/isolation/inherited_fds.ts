/**
 * Descriptors that this process was started with, besides its three streams: whatever opened them did not
 * mean our commands. Deno's own never reach a child; these would, so they are marked to end at exec.
 */
import { text } from "../bytes.ts";
import { log } from "../log.ts";

/** The C library, and ioctl's FIOCLEX, which takes no third argument. */
const SYSTEM = {
  linux: { library: "libc.so.6", fioclex: 0x5451n },
  darwin: { library: "libSystem.B.dylib", fioclex: 0x20006601n },
} as const;

/** Where it can't be done, it is logged. Doing it twice does no harm. */
export async function keepInheritedFds(): Promise<void> {
  const inherited = await listInherited();
  if (inherited.length === 0) return;
  try {
    const { library, fioclex } = SYSTEM[Deno.build.os === "darwin" ? "darwin" : "linux"];
    const libc = Deno.dlopen(library, { ioctl: { parameters: ["i32", "u64"], result: "i32" } });
    for (const fd of inherited) libc.symbols.ioctl(fd, fioclex);
    libc.close();
  } catch (error) {
    log("agent").warn("commands get descriptors that the agent was started with: {fds}", {
      fds: inherited.join(" "),
      error,
    });
  }
}

/** As a child sees them: what Deno opened is not among them. */
async function listInherited(): Promise<number[]> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    // the glob itself opens one, which is closed by the time it is looked at
    args: ["-c", 'for fd in /dev/fd/*; do [ -e "$fd" ] && echo "${fd##*/}"; done'],
    stdin: "null",
    stderr: "null",
  }).output();
  return text(stdout).split("\n").filter((fd) => /^\d+$/.test(fd)).map(Number).filter((fd) =>
    fd > 2
  );
}
