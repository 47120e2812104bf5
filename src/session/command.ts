/** One command of a persistent shell as a Process: its streams, its exit, and its end without the shell's. */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { utf8 } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import type { Account, Exit, KeptShell, Process, Relay } from "../isolation/backend.ts";
import { readCommandOutput } from "./command_output.ts";
import type { Dialect } from "./dialect.ts";

export interface CommandDeps {
  readonly shell: KeptShell;
  /** Whom the shell runs as, where that is not us. */
  readonly account: Account | undefined;
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

export async function startCommand(line: Uint8Array, deps: CommandDeps): Promise<Process> {
  const { shell, account, dialect, token, number } = deps;
  const relay = await deps.takeRelay();
  const before = await shell.processes();
  const file = `${relay.base}.c`;
  await Deno.writeFile(file, line, { createNew: true, mode: 0o600 });
  if (account) await Deno.chown(file, account.uid, account.gid);
  const pipes = holdOutputs(relay.base);
  const answered = deps.answers.of(number);
  await shell.tell(dialect.command(relay.base, number, token));
  return createProcess({ relay, file, pipes, answered, before }, deps);
}

interface Started {
  readonly relay: Relay;
  readonly file: string;
  /** Of both outputs. */
  readonly pipes: readonly HeldPipe[];
  readonly answered: Promise<number>;
  /** The session's processes before this command. */
  readonly before: ReadonlySet<number>;
}

function createProcess(
  { relay, file, pipes, answered, before }: Started,
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

  const end = utf8(`\0${crypto.randomUUID()}\0`);
  // nobody reads any more: as on a terminal, what writes on is told to end
  const unread = () => void terminate();
  const stdout = readCommandOutput(relay.stdout, unread);
  const stderr = readCommandOutput(relay.stderr, unread);
  const outputsEnded = Promise.all([stdout, stderr].map(async (output, i) => {
    await exit;
    output.expect(end);
    await pipes[i]!.append(end, output);
    await output.ended;
    pipes[i]!.close(); // not before: what nobody has open forgets what is in it
  }));

  /** What the command started: not the shell, and not what was there before it. */
  const started = async () => [...(await shell.processes()).difference(before)];
  const interrupt = async () => {
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
      for (let waited = 0; waited < next && !isOver() && floor <= at; waited += POLL_MS) {
        await pause(POLL_MS);
      }
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
    await Promise.all([input.abort().catch(() => {}), Deno.remove(file).catch(() => {})]);
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
      else started().then((pids) => shell.signal(pids, signal), () => {});
    },
    resize() {}, // a session has no terminal
    terminate,
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

const ENDING: ReadonlySet<Deno.Signal> = new Set(["SIGHUP", "SIGQUIT", "SIGTERM"]);
const POLL_MS = 5;

/** A named pipe with both of its ends. */
interface HeldPipe {
  /** Behind all that was written to it. A token that did not exist while the command ran, it cannot have printed. */
  append(token: Uint8Array, output: { readonly isEnded: boolean }): Promise<void>;
  /** Idempotent. */
  close(): void;
}

/**
 * With both ends open here, the shell does not wait in opening an output. Its input stays to be waited
 * for: a pipe that we held would have no end.
 */
const holdOutputs = (base: string): HeldPipe[] => [holdPipe(`${base}.1`), holdPipe(`${base}.2`)];

const MAX_WAIT_MS = 20;

function holdPipe(path: string): HeldPipe {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  let open = true;
  return {
    async append(token, output) {
      for (let wait = 1; open && !output.isEnded; wait = Math.min(wait * 2, MAX_WAIT_MS)) {
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
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}
