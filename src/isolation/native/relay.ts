/**
 * Named pipes and the processes that read and write them for us. A pipe's opening waits for its other
 * end, and Deno has a few dozen threads for what waits: with a relay none of them does.
 */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { systemClock } from "../../clock.ts";
import { OpenboxError } from "../../errors.ts";
import type { Account, Relay, RelayOutput } from "../backend.ts";
import { giveTo } from "./account.ts";
import { exitOf, sendSignal } from "./process.ts";
import { cannotStart, startLeader } from "./shell.ts";
import type { Watchdog } from "../watchdog.ts";

/** Named pipes, made some at a time: each making costs a process. An account has its own. */
export interface NamedPipes extends AsyncDisposable {
  /** The `base` of a relay. */
  take(): Promise<string>;
}

const BATCH = 16;
const pathsOf = (base: string) => [`${base}.0`, `${base}.1`, `${base}.2`];

export async function openPipes(
  directory: string,
  account: Account | undefined,
): Promise<NamedPipes> {
  let count = 0;
  const ready: string[] = [];
  const make = async () => {
    const made = Array.from({ length: BATCH }, () => `${directory}/${++count}`);
    const paths = made.flatMap(pathsOf);
    await makePipes(paths);
    await Promise.all(paths.map((path) => giveTo(account, path)));
    ready.push(...made);
  };
  await make();
  let making = Promise.resolve();
  return {
    async take() {
      if (ready.length <= 1) making = making.then(make);
      if (ready.length === 0) await making;
      else making.catch(() => {}); // whoever needs those is told
      return ready.shift()!;
    },
    [Symbol.asyncDispose]: () => making.catch(() => {}),
  };
}

async function makePipes(paths: readonly string[]): Promise<void> {
  const { success, stderr } = await run("mkfifo", ["-m", "600", ...paths]);
  if (success) return;
  throw new OpenboxError(
    "unavailable",
    `Cannot make named pipes for a session: ${new TextDecoder().decode(stderr).trim()}`,
    { hint: "is the node's disk full, or its temporary directory not writable?" },
  );
}

async function run(program: string, args: readonly string[]): Promise<Deno.CommandOutput> {
  try {
    return await new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
  } catch (cause) {
    throw cannotStart(program, cause);
  }
}

export interface RelayDeps {
  readonly watchdog: Watchdog;
  readonly setsid: string | undefined;
  readonly path: string | undefined;
  /** Whose shell it is for. */
  readonly account: Account | undefined;
}

/** The first cat holds our pipe for stdout alone, the second that for stderr, so that each ends by itself. */
const SCRIPT = 'cat <"$2" 2>/dev/null & cat <"$3" >&2 2>/dev/null & exec cat >"$1" 2>/dev/null';

export function openRelay(base: string, { watchdog, setsid, path, account }: RelayDeps): Relay {
  const argv = ["/bin/sh", "-c", SCRIPT, "openbox-relay", ...pathsOf(base)];
  const env: Record<string, string> = path === undefined ? {} : { PATH: path };
  using stack = new DisposableStack();
  const [, outPath, errPath] = pathsOf(base);
  const [outPipe, errPipe] = [outPath!, errPath!].map((path) =>
    stack.adopt(holdPipe(path), (pipe) => pipe.release())
  );
  const child = startLeader("a relay", argv, { env, cwd: "/" }, { setsid, streams: "piped" });
  stack.move();
  const guard = watchdog.guard(child.pid, undefined);
  let exited = false, disposed: Promise<void> | undefined;
  const exit = exitOf(child).finally(() => exited = true);
  const outputs = {
    stdout: createOutput(child.stdout, outPipe!),
    stderr: createOutput(child.stderr, errPipe!),
  };
  const input = child.stdin.getWriter();

  async function dispose(): Promise<void> {
    // as long as a reader of ours sees no end, somebody is in the group, and its number is nobody else's
    const isGroup = !exited || !outputs.stdout.ended || !outputs.stderr.ended;
    if (isGroup && !sendSignal(-child.pid, "SIGKILL") && !exited) sendSignal(child.pid, "SIGKILL");
    guard[Symbol.dispose]();
    for (const output of [outputs.stdout, outputs.stderr]) output.release();
    await Promise.all([exit, input.abort().catch(() => {}), ...remove(base)]);
    await Promise.all([outputs.stdout.cancel(), outputs.stderr.cancel()]);
  }

  return {
    base,
    get gone() {
      return exited;
    },
    stdin: new WritableStream<Uint8Array>({
      write: (bytes) => input.write(bytes),
      close: () => input.close(),
      abort: () => input.abort(),
    }),
    ...outputs,
    async writeCommand(line) {
      await Deno.writeFile(commandFile(base), line, { createNew: true, mode: 0o600 });
      await giveTo(account, commandFile(base));
    },
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

const commandFile = (base: string) => `${base}.c`;
const remove = (base: string): Promise<void>[] =>
  [...pathsOf(base), commandFile(base)].map((path) => Deno.remove(path).catch(() => {}));

/** A named pipe with both of its ends. */
type HeldPipe = Pick<RelayOutput, "append" | "release">;

const MAX_WAIT_MS = 20;

/**
 * With both ends open here, the shell does not wait in opening an output. Its input stays to be waited
 * for: a pipe that we held would have no end.
 */
function holdPipe(path: string): HeldPipe {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  let open = true;
  return {
    async append(token) {
      for (let wait = 1; open; wait = Math.min(wait * 2, MAX_WAIT_MS)) {
        try {
          writeSync(fd, token);
          return;
        } catch (error) {
          // full of what nobody has read
          if ((error as { code?: string }).code !== "EAGAIN") throw error;
        }
        await systemClock.sleep(wait);
      }
    },
    release() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** What a waiting read holds: little while nothing comes, more once it fills what it gets. */
const MIN_READ = 4 * 1024, MAX_READ = 64 * 1024;

interface Output extends RelayOutput {
  readonly ended: boolean;
  cancel(): Promise<void>;
}

function createOutput(pipe: ReadableStream<Uint8Array>, held: HeldPipe): Output {
  const reader = pipe.getReader({ mode: "byob" });
  let size = MIN_READ, ended = false;
  return {
    ...held,
    async read() {
      try {
        const { value, done } = await reader.read(new Uint8Array(size));
        if (!done) {
          if (value.length === size) size = Math.min(size * 4, MAX_READ);
          else if (value.length < size / 4) size = Math.max(size / 4, MIN_READ);
          return value;
        }
      } catch {
        // cancelled
      }
      ended = true;
      return undefined;
    },
    get ended() {
      return ended;
    },
    cancel: () => reader.cancel().catch(() => {}),
  };
}
