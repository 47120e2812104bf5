/** One command of a persistent shell as a Process: its streams, its exit, and its end without the shell's. */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { utf8 } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import type { Exit, KeptShell, Process, Relay } from "../isolation/backend.ts";
import { readCommandOutput } from "./command_output.ts";
import type { Dialect } from "./dialect.ts";

export interface CommandDeps {
  readonly shell: KeptShell;
  readonly dialect: Dialect;
  readonly token: string;
  readonly number: number;
  readonly answers: { of(number: number): Promise<number> };
  /** The shell was interrupted. */
  onInterrupt(): void;
  /** Somebody in the background still holds the command's output. */
  onLinger(relay: AsyncDisposable): void;
}

/** How long after the first SIGINT come SIGTERM, SIGKILL, and the end of the shell. */
const STAGES_MS = [0, 500, 500, 500] as const;
const INTERRUPT = 0, KILL = 2, END_SHELL = 3;
/** For the shell to unwind before it is asked once more how the command ended. */
const UNWIND_MS = 20;

export async function startCommand(line: Uint8Array, deps: CommandDeps): Promise<Process> {
  const { shell, dialect, token, number } = deps;
  const relay = await shell.openRelay();
  const before = await shell.processes();
  const file = `${relay.base}.c`;
  await Deno.writeFile(file, line, { createNew: true, mode: 0o600 });
  const answered = deps.answers.of(number);
  await shell.tell(dialect.command(relay.base, number, token));
  return createProcess(relay, file, answered, before, deps);
}

function createProcess(
  relay: Relay,
  file: string,
  answered: Promise<number>,
  before: ReadonlySet<number>,
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
  const outputsEnded = Promise.all([stdout.ended, stderr.ended]);
  exit.then(() => {
    stdout.expect(end);
    stderr.expect(end);
    return Promise.all([
      append(`${relay.base}.1`, end, stdout),
      append(`${relay.base}.2`, end, stderr),
    ]);
  }).catch(() => {}); // the session's directory is gone, and so are its processes

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
    if (stdout.closed && stderr.closed) return await relay[Symbol.asyncDispose]();
    onLinger(relay);
    void Promise.all([stdout.drop(), stderr.drop()]).then(() => relay[Symbol.asyncDispose]());
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
    terminate,
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

const ENDING: ReadonlySet<Deno.Signal> = new Set(["SIGHUP", "SIGQUIT", "SIGTERM"]);
const POLL_MS = 5;

/**
 * Marks the end in a named pipe, behind all that was written to it. A token that did not exist while the
 * command ran cannot have been printed by it.
 */
async function append(
  path: string,
  token: Uint8Array,
  output: { readonly isEnded: boolean },
): Promise<void> {
  for (let wait = 1; !output.isEnded; wait = Math.min(wait * 2, MAX_WAIT_MS)) {
    let fd: number | undefined;
    try {
      fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      writeSync(fd, token);
      return;
    } catch (error) {
      // no reader yet, or the pipe is full of what nobody has read
      const { code } = error as { code?: string };
      if (code !== "ENXIO" && code !== "EAGAIN") throw error;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
    await systemClock.sleep(wait);
  }
}

const MAX_WAIT_MS = 20;
