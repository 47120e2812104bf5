/** One command of a persistent shell as a Process: its streams, its exit, and its end without the shell's. */
import { utf8 } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import { OpenboxError } from "../errors.ts";
import type { Exit, KeptShell, Process, Relay } from "../isolation/backend.ts";
import { readCommandOutput } from "./command_output.ts";
import type { Dialect } from "./dialect.ts";

export interface CommandDeps {
  readonly shell: KeptShell;
  takeRelay(): Promise<Relay>;
  readonly dialect: Dialect;
  readonly token: string;
  readonly number: number;
  readonly answers: { of(number: number): Promise<number> };
  /** The shell was interrupted. */
  onInterrupt(): void;
  /** The command is over; until `closed` somebody in the background may hold its output. */
  onLinger(relay: AsyncDisposable, closed: Promise<unknown>): void;
}

/** How long after the first SIGINT come SIGTERM, SIGKILL, and the end of the shell. */
const STAGES_MS = [0, 500, 500, 500] as const;
const INTERRUPT = 0, KILL = 2, END_SHELL = 3;
/** For the shell to unwind before it is asked once more how the command ended. */
const UNWIND_MS = 20;

/**
 * A shell takes its line a moment after it was told, and loses a SIGINT that comes before. From 2 ms on
 * none was lost on a machine at rest.
 */
const TAKEN_MS = 30;

export async function startCommand(line: Uint8Array, deps: CommandDeps): Promise<Process> {
  const { shell, dialect, token, number } = deps;
  await using stack = new AsyncDisposableStack();
  const relay = stack.use(await deps.takeRelay());
  const before = await handOver(line, relay, shell);
  const answered = deps.answers.of(number);
  await shell.tell(dialect.command(relay.base, number, token));
  stack.move();
  return createProcess({ relay, answered, before }, deps);
}

/** Returns the processes before the command. */
async function handOver(
  line: Uint8Array,
  relay: Relay,
  shell: KeptShell,
): Promise<ReadonlySet<number>> {
  try {
    const [before] = await Promise.all([shell.processes(), relay.writeCommand(line)]);
    return before;
  } catch (cause) {
    if (cause instanceof OpenboxError) throw cause;
    const [why] = (cause as Error).message.split(":"); // what follows is a path of ours
    throw new OpenboxError("unavailable", `Cannot hand the command to the session: ${why}`, {
      hint: "the node is out of disk space, processes or descriptors",
      cause,
    });
  }
}

interface Started {
  readonly relay: Relay;
  readonly answered: Promise<number>;
  /** The session's processes before this command. */
  readonly before: ReadonlySet<number>;
}

function createProcess(
  { relay, answered, before }: Started,
  { shell, dialect, number, token, onInterrupt, onLinger }: CommandDeps,
): Process {
  let interrupted = false;
  const ended = new AbortController();
  const exit: Promise<Exit> = Promise.race([
    answered.then((code): Exit =>
      interrupted && code === dialect.interruptCode
        ? { kind: "exit", code: 130 }
        : { kind: "exit", code }
    ),
    shell.exit,
  ]).finally(() => ended.abort());
  const isOver = () => ended.signal.aborted;
  const pause = (ms: number) => systemClock.sleep(ms, { signal: ended.signal }).catch(() => {});

  const end = utf8(`\x16${crypto.randomUUID()}\x16`);
  // nobody reads any more: as on a terminal, what writes on is told to end
  const unread = () => void terminate();
  const stdout = readCommandOutput(relay.stdout, unread);
  const stderr = readCommandOutput(relay.stderr, unread);
  const outputsEnded = Promise.all((["stdout", "stderr"] as const).map(async (name) => {
    const output = name === "stdout" ? stdout : stderr, pipe = relay[name];
    await exit;
    output.expect(end);
    await Promise.race([pipe.append(end), output.ended]);
    await output.ended;
    pipe.release(); // not before: what nobody has open forgets what is in it
  }));

  /**
   * What the command started: not the shell, and not what was there before it. Where the machine cannot
   * tell any more, nothing: the end of the shell comes all the same.
   */
  const started = async () => {
    try {
      return [...(await shell.processes()).difference(before)];
    } catch {
      return [];
    }
  };
  const taken = pause(TAKEN_MS);
  const interrupt = async () => {
    await taken;
    if (isOver()) return;
    interrupted = true;
    onInterrupt();
    shell.interrupt();
    await pause(UNWIND_MS);
    // some shells drop what they had read ahead, and with it our question
    if (!isOver()) await shell.tell(dialect.answer(number, token));
  };
  async function stage(at: number): Promise<void> {
    if (at === END_SHELL) return shell.kill();
    if (at > INTERRUPT) {
      shell.signal(await started(), at === KILL ? "SIGKILL" : "SIGTERM");
      await pause(UNWIND_MS);
    }
    await interrupt(); // so that the rest of the line does not run on
  }
  let floor = INTERRUPT, escalating: Promise<void> | undefined;
  async function escalate(): Promise<void> {
    for (let at = floor; at <= END_SHELL && !isOver(); at = Math.max(at + 1, floor)) {
      await stage(at);
      const next = STAGES_MS[Math.min(at + 1, END_SHELL)]!;
      const until = performance.now() + next;
      while (performance.now() < until && !isOver() && floor <= at) await pause(POLL_MS);
    }
    await exit;
  }
  const endFrom = (at: number): Promise<void> => {
    floor = Math.max(floor, at);
    return escalating ??= escalate();
  };
  const terminate = () => endFrom(INTERRUPT);

  let disposed: Promise<void> | undefined;
  async function dispose(): Promise<void> {
    if (!isOver()) await terminate();
    stdout.drain();
    stderr.drain();
    await outputsEnded;
    await input.abort().catch(() => {});
    onLinger(relay, Promise.all([stdout.drop(), stderr.drop()]));
  }

  const input = relay.stdin.getWriter();
  return {
    stdin: new WritableStream<Uint8Array>({
      write: (bytes) => input.write(bytes),
      close: () => input.close(),
      abort: () => input.abort(),
    }),
    stdout: stdout.stream,
    stderr: stderr.stream,
    exit,
    kill(signal) {
      if (isOver()) return;
      if (signal === "SIGINT") void interrupt();
      else if (signal === "SIGKILL") void endFrom(KILL);
      else if (ENDING.has(signal)) void terminate();
      else void started().then((pids) => shell.signal(pids, signal));
    },
    resize() {}, // a session has no terminal
    terminate,
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

const ENDING: ReadonlySet<Deno.Signal> = new Set(["SIGHUP", "SIGQUIT", "SIGTERM"]);
const POLL_MS = 5;
