/** One command in a container of its own, as a Process. */
import { utf8 } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import type { Command, Exit, Process, ScreenSize } from "./backend.ts";
import { type Container, type Execution, SHARED } from "./docker_container.ts";
import type { Engine } from "./docker_engine.ts";
import { readFrames } from "./docker_frames.ts";
import { createMarkedOutput } from "./docker_output.ts";
import { toExit } from "./docker_exit.ts";

/** Between SIGTERM and SIGKILL: both, and the wait for the end, fit into two seconds. */
const GRACE_MS = 1_500;
/** Of the grace, for what takes a hang-up for the end, as an interactive shell does: SIGTERM it ignores. */
const HANGUP_MS = 500;
/** For SIGKILL to take effect, before the container goes with all in it. */
const KILL_MS = 1_000;
/** For a command that nobody reads any more to find that out by itself. */
const UNREAD_MS = 500;
const POLL_MS = 20;

/**
 * Around the command, in the place of a parent: it says where its group is, and behind its last byte how it
 * ended. What the shell itself has to say of a child that a signal ended is not the command's.
 */
const WRAPPER = `trap : HUP INT QUIT TERM PIPE ALRM USR1 USR2; echo $$ >${SHARED}/pid; ` +
  `exec 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); s=$?; ` +
  `printf '%s%03d' "$0" "$s"; printf '%s%03d' "$0" "$s" >&3; exit "$s"`;

/** A terminal ends with the process that leads its session. It waits until it has its size. */
const ON_TERMINAL = `echo $$ >${SHARED}/pid; IFS= read -r _ <${SHARED}/go; exec "$@"`;

const LONGEST_ARGUMENT = 100_000;

/** Owns the container, also where it throws. */
export async function startInContainer(
  container: Container,
  { line, env, cwd, terminal }: Pick<Command, "line" | "env" | "cwd" | "terminal">,
  engine: Engine,
): Promise<Process> {
  await using stack = new AsyncDisposableStack();
  stack.use(container);
  const shell = [...container.entrypoint, "/bin/sh", ...await shellArguments(line, container)];
  const mark = `\x16${crypto.randomUUID()}`;
  if (terminal) await container.ask("mkfifo go 2>/dev/null");
  const execution = stack.use(
    await container.exec({
      argv: terminal
        ? ["/bin/sh", "-c", ON_TERMINAL, "openbox", ...shell]
        : ["/bin/sh", "-c", WRAPPER, mark, ...shell],
      env,
      cwd,
      tty: terminal !== undefined,
    }),
  );
  const screen = terminal && openScreen(terminal, execution, container, engine);
  const owned = stack.move();
  return ownExecution({ container, execution, screen, mark: utf8(mark), owned });
}

/** Undefined where it cannot be an argument: those are text, and of 128 KiB at most. */
async function shellArguments(line: Uint8Array, container: Container): Promise<string[]> {
  const argument = line.length <= LONGEST_ARGUMENT ? decode(line) : undefined;
  if (argument !== undefined) {
    return ["-c", ...(/^[-+]/.test(argument) ? ["--"] : []), argument]; // or it would be an option
  }
  await putFile(container, "line", line);
  return ["-c", `. ${SHARED}/line`];
}

function decode(line: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
  } catch {
    return undefined;
  }
}

/** By an exec of its own, of any length. */
export async function putFile(
  container: Container,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  using writing = await container.exec({
    argv: ["/bin/sh", "-c", `umask 077; exec cat >"$0"`, `${SHARED}/${name}`],
    env: {},
    cwd: "/",
    tty: false,
  });
  await writing.wire.write(bytes);
  await writing.wire.closeWrite();
  let said = "";
  const note = (bytes: Uint8Array) =>
    void (said = (said + new TextDecoder().decode(bytes)).slice(-500));
  await readFrames(writing.wire, note, note);
  if (said !== "") throw new Error(`cannot write a file in the container: ${said.trim()}`);
}

interface Screen {
  resize(size: ScreenSize): void;
}

/** The sizes reach the engine one after another; with the first the command begins. */
function openScreen(
  first: ScreenSize,
  { id }: Execution,
  container: Container,
  engine: Engine,
): Screen {
  const apply = ({ cols, rows }: ScreenSize) =>
    engine.call((docker) => docker.getExec(id).resize({ w: cols, h: rows })).catch(() => {});
  let wanted: ScreenSize | undefined;
  let last: Promise<unknown> = apply(first).then(() =>
    container.ask("{ echo >go; } 2>/dev/null & :")
  );
  return {
    resize(size) {
      const isWaiting = wanted !== undefined;
      wanted = size;
      if (isWaiting) return;
      last = last.then(async () => {
        const now = wanted!;
        wanted = undefined;
        await apply(now);
      });
    },
  };
}

interface Owned {
  readonly container: Container;
  readonly execution: Execution;
  readonly screen: Screen | undefined;
  readonly mark: Uint8Array;
  readonly owned: AsyncDisposableStack;
}

function ownExecution({ container, execution, screen, mark, owned }: Owned): Process {
  const { wire } = execution;
  let exited = false, unreadAt: number | undefined;
  /** As a pipe without a reader does it. */
  const onUnread = () => {
    if (exited) return;
    if (unreadAt === undefined) {
      unreadAt = performance.now();
      if (screen) void terminate();
      else signalGroup("PIPE");
    } else if (performance.now() - unreadAt > UNREAD_MS) void terminate();
  };
  const stdout = createMarkedOutput(screen ? undefined : mark, onUnread);
  const stderr = createMarkedOutput(screen ? undefined : mark, onUnread);
  const reading = screen
    ? readRaw(wire, (bytes) => stdout.push(bytes))
    : readFrames(wire, (bytes) => stdout.push(bytes), (bytes) => stderr.push(bytes));
  if (screen) stderr.end();
  reading.finally(() => {
    stdout.end();
    stderr.end();
  });
  const exit: Promise<Exit> = Promise.all([stdout.ended, stderr.ended])
    .then(async (told) =>
      toExit(told.find((code) => code !== undefined) ?? await execution.exitCode())
    )
    .finally(() => exited = true);

  /** It may not have begun yet. */
  async function signalGroup(signal: string): Promise<void> {
    for (let waited = 0; !exited && waited < KILL_MS; waited += POLL_MS) {
      const answer = await container.ask(
        `{ IFS= read -r p <pid; } 2>/dev/null && ${send(signal, '"-$p"')}`,
      );
      if (!answer || answer.code === 0) return;
      await systemClock.sleep(POLL_MS);
    }
  }
  /** All but our own shell. */
  const signalAll = (signal: string) => void container.ask(send(signal, "-1"));

  async function exitsWithin(ms: number): Promise<boolean> {
    for (const deadline = performance.now() + ms; !exited;) {
      if (performance.now() > deadline) return false;
      await systemClock.sleep(POLL_MS);
    }
    return true;
  }
  async function endTree(): Promise<void> {
    if (screen) {
      signalAll("HUP");
      signalAll("CONT"); // a job that is stopped hears it only then
      if (await exitsWithin(HANGUP_MS)) return;
    }
    signalAll("TERM");
    if (await exitsWithin(screen ? GRACE_MS - HANGUP_MS : GRACE_MS)) return;
    signalAll("KILL");
    if (await exitsWithin(KILL_MS)) return;
    await owned.disposeAsync();
  }
  let terminated: Promise<void> | undefined;
  const terminate = () => terminated ??= endTree();

  async function dispose(): Promise<void> {
    if (!exited) await terminate();
    await owned.disposeAsync();
    await reading;
  }
  let disposed: Promise<void> | undefined;
  return {
    stdin: new WritableStream<Uint8Array>({
      write: (bytes) => wire.write(bytes),
      close: () => screen ? undefined : wire.closeWrite().catch(() => {}),
    }),
    stdout: stdout.stream,
    stderr: stderr.stream,
    exit,
    kill(signal) {
      if (exited) return;
      if (signal === "SIGKILL") signalAll("KILL");
      else void signalGroup(signal.slice("SIG".length));
    },
    resize: (size) => screen?.resize(size),
    terminate,
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

/** busybox's kill knows no `--`, dash's needs it. */
export const send = (signal: string, target: string): string =>
  `{ kill -s ${signal} -- ${target} || kill -s ${signal} ${target}; } 2>/dev/null`;

async function readRaw(
  wire: Execution["wire"],
  take: (bytes: Uint8Array) => Promise<void> | undefined,
): Promise<void> {
  for (let bytes; (bytes = await wire.read());) await take(bytes);
}
