/** A part of openbox as a process that a round kills, stops and starts again, in its home and with its ports as before. */
import { OPENBOX } from "../fixtures/openbox.ts";

export interface Service extends AsyncDisposable {
  /** Of the process that runs now. */
  readonly pid: number;
  start(): void;
  signal(name: Deno.Signal): void;
  /** Ends it at once, and waits for that. */
  kill(): Promise<void>;
  /** The end of what it logged. */
  log(): string;
}

const KEPT_LOG = 20_000;

/** It runs from the start on. */
export function startService(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Service {
  let child: Deno.ChildProcess, log = "";
  let read: Promise<unknown> = Promise.resolve();
  const collect = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const part of stream) {
      log = (log + decoder.decode(part, { stream: true })).slice(-KEPT_LOG);
    }
  };
  const service: Service = {
    get pid() {
      return child.pid;
    },
    start() {
      const [program, ...before] = OPENBOX;
      child = new Deno.Command(program, {
        args: [...before, ...args],
        clearEnv: true,
        env: { ...env },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      read = Promise.all([collect(child.stdout), collect(child.stderr)]);
    },
    signal(name) {
      try {
        child.kill(name);
      } catch {
        // it has ended
      }
    },
    async kill() {
      service.signal("SIGKILL");
      await child.status;
      await read;
    },
    log: () => log,
    async [Symbol.asyncDispose]() {
      service.signal("SIGCONT"); // a stopped one does not hear the next
      service.signal("SIGTERM");
      const timer = setTimeout(() => service.signal("SIGKILL"), 5000);
      await child.status;
      clearTimeout(timer);
      await read;
    },
  };
  service.start();
  return service;
}
