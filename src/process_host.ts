/** This process as a Host: the one place, besides main.ts, that takes Deno's arguments, streams and signals. */
import { systemClock } from "./clock.ts";
import { OpenboxError } from "./errors.ts";
import { dropPermissions } from "./permissions.ts";
import {
  BrokenPipe,
  type Host,
  type HostSignal,
  type Input,
  Interrupted,
  type Output,
  SIGNAL_NUMBER,
} from "./host.ts";

/** The signals that end a process; what else a command wants it asks for by `onSignal`. */
const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Of this process. One is enough, and a process that has taken signals over cannot well give them back. */
export interface ProcessHost extends Host {
  /** Leaves the signals to the host that was made after this one. */
  release(): void;
}

export function processHost(): ProcessHost {
  const ending = new AbortController();
  const handlers: { readonly name: HostSignal; handler(): void }[] = [];
  const listening = new Map<HostSignal, () => void>();

  const ignored = ignoredSignals();

  function deliver(name: HostSignal): void {
    if (ignored.has(name)) return;
    const taken = handlers.findLast((entry) => entry.name === name);
    if (taken) return taken.handler();
    // the second one: whatever was to be put in order, the person has waited long enough
    const interrupted = new Interrupted(name);
    if (ending.signal.aborted) Deno.exit(interrupted.exitCode);
    ending.abort(interrupted);
  }

  function listen(name: HostSignal): void {
    if (listening.has(name)) return;
    const listener = () => deliver(name);
    listening.set(name, listener);
    Deno.addSignalListener(name, listener);
  }

  // for ignored ones too: with its first listener Deno takes all three over, and ends at one that has none
  for (const name of ENDING) listen(name);

  return {
    release() {
      for (const [name, listener] of listening) Deno.removeSignalListener(name, listener);
      listening.clear();
    },
    args: Deno.args,
    ...processStreams,
    clock: systemClock,
    signal: ending.signal,
    env: (name) => Deno.env.get(name) || undefined,
    takeEnv(name) {
      const value = Deno.env.get(name) || undefined;
      if (value !== undefined) Deno.env.delete(name);
      return value;
    },
    cwd: () => Deno.cwd(),
    get program() {
      return Deno.build.standalone ? Deno.execPath() : Deno.env.get("OPENBOX_PROGRAM") || undefined;
    },
    startDetached,
    dropPermissions({ terminal } = { terminal: false }) {
      if (terminal) rawOutput = prepareRawOutput();
      dropPermissions();
    },
    onSignal(name, handler) {
      const entry = { name, handler };
      handlers.push(entry);
      listen(name);
      return { [Symbol.dispose]: () => void handlers.splice(handlers.indexOf(entry), 1) };
    },
  };
}

function startDetached(
  [program, ...args]: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
): void {
  new Deno.Command(program, {
    args,
    clearEnv: true,
    env: { ...env },
    detached: true,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn().unref();
}

/**
 * What our parent had us ignore: nohup the hang-up, a shell the interrupts of a background job. The
 * launcher tells it; without one it is looked for, and where it cannot be read nothing counts as ignored.
 */
function ignoredSignals(): ReadonlySet<HostSignal> {
  const names = Object.keys(SIGNAL_NUMBER) as HostSignal[];
  try {
    const bits = BigInt(Deno.env.get("OPENBOX_IGNORED_SIGNALS") ?? readIgnoredSignals());
    return new Set(names.filter((name) => bits >> BigInt(SIGNAL_NUMBER[name] - 1) & 1n));
  } catch {
    return new Set();
  }
}

function readIgnoredSignals(): string {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(Deno.readTextFileSync("/proc/self/status"));
  return `0x${mask?.[1] ?? "0"}`;
}

const input: Input = {
  isTerminal: () => Deno.stdin.isTerminal(),
  setRaw: (raw) => Deno.stdin.setRaw(raw),
  passThrough,
  read: (buffer) => whenReady(() => Deno.stdin.read(buffer)),
};

/** The ways in which this process ends without our code: an exit, and what nobody caught. */
const LAST_EVENTS = ["unload", "error", "unhandledrejection"] as const;

async function passThrough(): Promise<Disposable> {
  const giveBack = () => {
    for (const event of LAST_EVENTS) removeEventListener(event, giveBack);
    try {
      Deno.stdin.setRaw(false);
    } catch {
      // the terminal itself is gone
    }
  };
  for (const event of LAST_EVENTS) addEventListener(event, giveBack);
  Deno.stdin.setRaw(true);
  await (rawOutput ?? prepareRawOutput())?.start();
  return { [Symbol.dispose]: giveBack };
}

/** Made when permissions were dropped, for the terminal that is handed over later. */
let rawOutput: ReturnType<typeof prepareRawOutput>;

/**
 * Deno's raw mode goes on putting a carriage return before each newline, which moves a remote editor's
 * cursor. A process that stands ready takes that away on our word: later we may start none.
 */
function prepareRawOutput() {
  if (!Deno.stdin.isTerminal() || !Deno.stdout.isTerminal()) return undefined;
  try {
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", "read -r _ && exec stty -opost <&1"],
      clearEnv: true,
      stdin: "piped",
      stdout: "inherit",
      stderr: "null",
    }).spawn();
    child.unref();
    return {
      async start() {
        const input = child.stdin.getWriter();
        await input.write(new Uint8Array([10])).catch(() => {});
        await input.close().catch(() => {});
        await child.status;
      },
    };
  } catch {
    // without the program, or the permission to run it, a few full-screen programs draw askew
    return undefined;
  }
}

function output(name: "stdout" | "stderr"): Output {
  const stream = Deno[name];
  return {
    isTerminal: () => stream.isTerminal(),
    size() {
      if (!stream.isTerminal()) return undefined;
      try {
        const { columns, rows } = Deno.consoleSize();
        return { cols: columns, rows };
      } catch {
        return undefined;
      }
    },
    async write(bytes) {
      try {
        for (let at = 0; at < bytes.length;) {
          at += await whenReady(() => stream.write(bytes.subarray(at)));
        }
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) throw new BrokenPipe();
        const why = `Cannot write to ${name} here: ${(error as Error).message}`;
        throw new OpenboxError("output_failed", why, { cause: error });
      }
    },
  };
}

/** A pipe that another process made non-blocking (ssh and node do) answers "would block" instead of waiting. */
async function whenReady<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      await systemClock.sleep(5);
    }
  }
}

/** The streams alone: they take nothing of the process. */
export const processStreams: Pick<Host, "stdin" | "stdout" | "stderr"> = {
  stdin: input,
  stdout: output("stdout"),
  stderr: output("stderr"),
};
