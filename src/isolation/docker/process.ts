/** One command in a container of its own, as a Process. */
import { concat, findBytes, text, utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { Command, Exit, Process, ScreenSize } from "../backend.ts";
import { asShortArgument, shellArgv } from "../shell_line.ts";
import { within } from "../within.ts";
import { type Container, type Execution, SHARED } from "./container.ts";
import { type Engine, toldRefusal } from "./engine.ts";
import { readFrames, type Take } from "./frames.ts";
import { createMarkedOutput, type MarkedOutput } from "./output.ts";
import { toExit } from "./exit.ts";

/** Between SIGTERM and SIGKILL: both, and the wait for the end, fit into two seconds. */
const GRACE_MS = 1_500;
/** Of the grace, for what takes a hang-up for the end, as an interactive shell does: SIGTERM it ignores. */
const HANGUP_MS = 500;
/** For SIGKILL to take effect, before the container goes with all in it. */
const KILL_MS = 1_000;
/** For a command that nobody reads any more to find that out by itself. */
const UNREAD_MS = 500;
const POLL_MS = 20;
/** Processes of ours in a container: the engine's init and the control shell. */
const OURS = 2;

/**
 * Around the command, in the place of a parent: it says where its group is, and on both outputs, before
 * the command's first byte and behind its last, that it began and how it ended. What the shell itself has
 * to say of a child that a signal ended is not the command's.
 */
const WRAPPER = `trap : HUP INT QUIT TERM PIPE ALRM USR1 USR2; echo $$ >${SHARED}/pid; ` +
  `printf %s "$0"; printf %s "$0" >&2; exec 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); s=$?; ` +
  `printf '%s%03d' "$0" "$s"; printf '%s%03d' "$0" "$s" >&3; exit "$s"`;

/** A terminal ends with the process that leads its session. It waits until it has its size. */
const ON_TERMINAL =
  `echo $$ >${SHARED}/pid; { IFS= read -r _ <${SHARED}/go; } 2>/dev/null; exec "$@"`;

/** Owns the container, also where it throws. */
export async function startInContainer(
  container: Container,
  { line, env, cwd, terminal }: Pick<Command, "line" | "env" | "cwd" | "terminal">,
  engine: Engine,
): Promise<Process> {
  await using stack = new AsyncDisposableStack();
  stack.use(container);
  const shell = [...container.entrypoint, ...await shellCommand(line, container)];
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
  const screen = terminal && await openScreen(terminal, execution, container, engine);
  const owned = stack.move();
  try {
    return await ownExecution({ container, execution, screen, mark: utf8(mark), owned });
  } catch (error) {
    await owned.disposeAsync();
    throw error;
  }
}

async function shellCommand(line: Uint8Array, container: Container): Promise<string[]> {
  const argument = asShortArgument(line);
  if (argument !== undefined) return shellArgv(argument);
  await putFile(container, "line", line);
  return shellArgv(`. ${SHARED}/line`);
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
  if (said === "") return;
  throw new OpenboxError("unavailable", `Cannot write a file in the container: ${said.trim()}`);
}

interface Screen {
  resize(size: ScreenSize): void;
  /** Once the sizes so far have reached it. */
  readonly settled: Promise<void>;
}

/** With the first size the command begins; more of them reach the engine one after another. */
async function openScreen(
  first: ScreenSize,
  { id }: Execution,
  container: Container,
  engine: Engine,
): Promise<Screen> {
  const apply = ({ cols, rows }: ScreenSize) =>
    engine.call((docker) => docker.getExec(id).resize({ w: cols, h: rows }));
  try {
    await apply(first); // which waits for the exec to be there
  } catch (error) {
    throw toldRefusal(error, "start the command");
  }
  await container.ask("{ echo >go; } 2>/dev/null & :");
  let wanted: ScreenSize | undefined, last = Promise.resolve();
  return {
    get settled() {
      return last;
    },
    resize(size) {
      const isWaiting = wanted !== undefined;
      wanted = size;
      if (isWaiting) return;
      last = last.then(async () => {
        const now = wanted!;
        wanted = undefined;
        await apply(now).catch(() => {}); // the command has ended
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

async function ownExecution(
  { container, execution, screen, mark, owned }: Owned,
): Promise<Process> {
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
  const beginnings = [createBeginning(mark), createBeginning(mark)] as const;
  const reading = screen
    ? readRaw(wire, (bytes) => stdout.push(bytes))
    : readFrames(wire, behind(beginnings[0], stdout), behind(beginnings[1], stderr));
  if (screen) stderr.end();
  reading.finally(() => {
    for (const beginning of beginnings) beginning.end();
    stdout.end();
    stderr.end();
  });
  if (!screen) await Promise.all(beginnings.map(({ over }) => over));
  const exit: Promise<Exit> = Promise.all([stdout.ended, stderr.ended])
    .then(async (told) =>
      toExit(told.find((code) => code !== undefined) ?? await execution.exitCode())
    )
    .finally(() => exited = true);
  exit.catch(() => {}); // whoever waits for it is told

  const signalGroup = (signal: string) =>
    void container.ask(`IFS= read -r p <pid && ${send(signal, '"-$p"')}`);
  /** All but our own shell. */
  const signalAll = (signal: string) => void container.ask(send(signal, "-1"));

  /** What is in there besides the engine's init and our own shell. */
  async function isGone(): Promise<boolean> {
    if (!exited) return false;
    const answer = await container.ask("set -- /proc/[0-9]*; echo $#");
    return answer === undefined || Number(answer.lines[0]) <= OURS;
  }
  const goneWithin = (ms: number) => within(ms, isGone, POLL_MS);
  async function endTree(): Promise<void> {
    if (screen) {
      signalAll("HUP");
      signalAll("CONT"); // a job that is stopped hears it only then
      if (await goneWithin(HANGUP_MS)) return;
    }
    signalAll("TERM");
    if (await goneWithin(screen ? GRACE_MS - HANGUP_MS : GRACE_MS)) return;
    signalAll("KILL");
    if (await goneWithin(KILL_MS)) return;
    await owned.disposeAsync();
  }
  let terminated: Promise<void> | undefined;
  const terminate = () => terminated ??= endTree();

  async function dispose(): Promise<void> {
    if (!exited) await terminate();
    for (const output of [stdout, stderr]) output.drop();
    await owned.disposeAsync();
    await reading;
  }
  let disposed: Promise<void> | undefined;
  return {
    stdin: new WritableStream<Uint8Array>({
      async write(bytes) {
        await screen?.settled; // what is typed after a change of size finds it made
        await wire.write(bytes);
      },
      close: () => screen ? undefined : wire.closeWrite().catch(() => {}),
    }),
    stdout: stdout.stream,
    stderr: stderr.stream,
    exit,
    kill(signal) {
      if (exited) return;
      if (signal === "SIGKILL") signalAll("KILL");
      else signalGroup(signal.slice("SIG".length));
    },
    resize: (size) => screen?.resize(size),
    terminate,
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

interface Beginning {
  /** Throws `unavailable` where the stream ended before. */
  readonly over: Promise<void>;
  /** What of it comes behind the mark. */
  take(bytes: Uint8Array): Uint8Array;
  end(): void;
}

/** Until its mark it is the engine that writes to an output: why it could not start the command. */
function createBeginning(mark: Uint8Array): Beginning {
  const over = Promise.withResolvers<void>();
  over.promise.catch(() => {}); // on a terminal nobody waits for it
  let isOver = false, head: Uint8Array = new Uint8Array();
  return {
    over: over.promise,
    take(bytes) {
      if (isOver) return bytes;
      head = concat([head, bytes]).subarray(0, MAX_HEAD);
      if (head.length < mark.length || findBytes(head, mark) !== 0) return NOTHING;
      isOver = true;
      over.resolve();
      return head.subarray(mark.length);
    },
    end() {
      over.reject(
        new OpenboxError("unavailable", `Docker cannot start the command: ${text(head).trim()}`, {
          hint: "docker's own log on the node says more",
        }),
      );
    },
  };
}

const NOTHING = new Uint8Array(), MAX_HEAD = 128 * 1024;

const behind = (beginning: Beginning, output: MarkedOutput): Take => (bytes) => {
  const rest = beginning.take(bytes);
  if (rest.length > 0) return output.push(rest);
};

/** For the control shell, which knows how its `kill` is told a group. */
export const send = (signal: string, target: string): string =>
  `kill -s ${signal} $dashes ${target} 2>/dev/null`;

async function readRaw(
  wire: Execution["wire"],
  take: (bytes: Uint8Array) => Promise<void> | undefined,
): Promise<void> {
  for (let bytes; (bytes = await wire.read());) await take(bytes);
}
