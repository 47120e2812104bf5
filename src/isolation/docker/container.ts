/**
 * A container that stays until it is disposed, with a shell of ours in it that does what it is told on its
 * stdin. What runs in there are execs beside it. The shell is also the lifeline: when this process dies in
 * whatever way, the engine closes the shell's stdin, the shell ends, and the container with it.
 */
import type { AbortOptions } from "../../abort.ts";
import { text, utf8 } from "../../bytes.ts";
import { systemClock } from "../../clock.ts";
import { OpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import { quoteWord } from "../../shell_word.ts";
import type { Confinement } from "../backend.ts";
import { holdContainer, refuseSocket, scratchOf } from "./confinement.ts";
import { ANSWER_MS, type Engine, type ImageFacts, toldRefusal } from "./engine.ts";
import { readFrames } from "./frames.ts";
import { EngineRefusal, type Wire } from "./hijack.ts";

/** For our files and named pipes. In memory, so that it is there on a root that is read-only too. */
export const SHARED = "/run/openbox";

/**
 * Deaf to signals, since a command may send them to all there is. dash's kill needs `--` before a group;
 * busybox's signals it, and then fails for taking `--` for a process.
 */
const CONTROL = `trap '' HUP INT QUIT TERM PIPE; umask 077; cd ${SHARED} || exit; ` +
  `if kill -s CONT -- $$ 2>/dev/null; then dashes=--; else dashes=; fi; ` +
  `while IFS= read -r l; do eval "$l"; done`;

export interface ContainerOptions extends AbortOptions {
  readonly image: ImageFacts;
  readonly labels: Readonly<Record<string, string>>;
  readonly confinement: Confinement;
  /** `uid:gid`; undefined: the image's. */
  readonly user: string | undefined;
  /** Absolute, and refused with `bad_directory` where it is none. */
  readonly cwd: string | undefined;
  /** Has the container in it as long as there is one. */
  readonly running: Set<AsyncDisposable>;
}

export interface ExecOptions {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  /** One stream both ways in place of frames. */
  readonly tty: boolean;
}

export interface Execution extends Disposable {
  readonly id: string;
  readonly wire: Wire;
  /** Once its stream has ended. 137 where the container is gone; throws `lost` where the engine is. */
  exitCode(): Promise<number>;
}

/** Disposing it ends what runs in there, and removes it. */
export interface Container extends AsyncDisposable {
  readonly id: string;
  /** What the image has before each command. */
  readonly entrypoint: readonly string[];
  /** One line of shell, and what it prints. Undefined where the container is gone or does not answer. */
  ask(line: string): Promise<Answer | undefined>;
  exec(options: ExecOptions): Promise<Execution>;
}

export interface Answer {
  readonly code: number;
  readonly lines: readonly string[];
}

/** A loaded engine takes seconds to start one. */
const START_MS = 60_000;
const MAX_ANSWER = 1024 * 1024;

/** Throws an OpenboxError, with nothing left, where it cannot be. */
export async function startContainer(
  engine: Engine,
  { image, labels, confinement, user, cwd, running, signal }: ContainerOptions,
): Promise<Container> {
  await refuseSocket(confinement.mounts ?? [], engine.endpoint);
  const cores = confinement.cpus === undefined && !confinement.untrusted
    ? Infinity
    : (await engine.call((docker) => docker.info(), { signal })).NCPU;
  const held = holdContainer(confinement, { cores, imageUser: user ?? image.Config?.User ?? "" });
  await using stack = new AsyncDisposableStack();
  let creating: Promise<{ readonly id: string }> | undefined;
  try {
    const { id } = await engine.call((docker) =>
      creating = docker.createContainer({
        Image: image.Id,
        Entrypoint: ["/bin/sh", "-c", CONTROL, "openbox"],
        Cmd: [],
        Labels: labels,
        User: held.user ?? user,
        OpenStdin: true,
        StdinOnce: true,
        Healthcheck: { Test: ["NONE"] },
        StopTimeout: 1, // it is deaf to SIGTERM
        HostConfig: {
          ...held.hostConfig,
          Init: true, // or nobody buries what a command leaves behind
          AutoRemove: true,
          OomScoreAdj: 500, // as GOES_FIRST of ../oom.ts
          LogConfig: { Type: "none" },
          Tmpfs: { ...scratchOf(confinement), [SHARED]: "mode=1777,size=64m" },
        },
      }), { signal, ms: START_MS });
    stack.defer(() => remove(engine, id));
    creating = undefined;
    const wire = await engine.stream(
      `/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
      undefined,
      { signal },
    );
    stack.use(wire);
    const control = startControl(wire);
    const ready = control.ask(cwd === undefined ? ":" : checkDirectory(cwd), START_MS);
    await engine.call((docker) => docker.getContainer(id).start(), { signal, ms: START_MS });
    const answer = await ready;
    if (!answer) throw unusable(image, control.said());
    if (answer.code !== 0) {
      throw new OpenboxError("bad_directory", `Cannot start in ${cwd}: ${answer.lines[0]}`);
    }
    const owned = stack.move();
    const container: Container = {
      id,
      entrypoint: image.Config?.Entrypoint ?? [],
      ask: control.ask,
      exec: (options) => exec(engine, id, options),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
    running.add(container);
    owned.defer(() => void running.delete(container));
    return container;
  } catch (error) {
    creating?.then(({ id }) => remove(engine, id), () => {}); // it came too late
    throw toldStart(error);
  }
}

const checkDirectory = (path: string): string => {
  const quoted = quoteWord(path);
  return `if [ ! -e ${quoted} ]; then echo "there is no such directory in the container"; (exit 1); ` +
    `elif [ ! -d ${quoted} ]; then echo "it is not a directory"; (exit 1); ` +
    `elif [ ! -x ${quoted} ]; then echo "permission denied"; (exit 1); fi`;
};

function unusable({ Id }: ImageFacts, said: string): OpenboxError {
  return new OpenboxError(
    "isolation_unavailable",
    `Nothing can be run in the image ${Id.slice(0, 19)}: ${
      said.trim() || "its shell ended at once"
    }`,
    { hint: "an image needs /bin/sh, as debian, alpine and busybox have it" },
  );
}

function toldStart(error: unknown): unknown {
  if (!(error instanceof EngineRefusal)) return error;
  const { reason } = error;
  if (/bind source path does not exist|invalid mount|bind mount/i.test(reason)) {
    return new OpenboxError("mount_invalid", `Docker cannot mount: ${reason}`, {
      cause: error,
    });
  }
  if (/memory limit|NanoCPUs|CPUs|device driver|pids limit|shm/i.test(reason)) {
    return new OpenboxError("limit_unsupported", `Docker cannot hold the limit: ${reason}`, {
      cause: error,
    });
  }
  return toldRefusal(error, "start a container");
}

async function remove(engine: Engine, id: string): Promise<void> {
  try {
    await engine.call(
      (docker) => docker.getContainer(id).remove({ force: true, v: true }),
      { ms: ANSWER_MS },
    );
  } catch (error) {
    // gone, or going by itself
    if (error instanceof EngineRefusal && [404, 409].includes(error.statusCode)) return;
    log("agent", "docker").warn("cannot remove a container", { container: id.slice(0, 12), error });
  }
}

interface Control {
  ask(line: string, ms?: number): Promise<Answer | undefined>;
  /** What came on its stderr. */
  said(): string;
}

/** The control shell's side of the wire: it answers in the order in which it was asked. */
function startControl(wire: Wire): Control {
  const waiting = new Map<number, (answer: Answer | undefined) => void>();
  let count = 0, over = false, rest = "", said = "";
  let lines: string[] = [];
  const take = (bytes: Uint8Array) => {
    const parts = (rest + text(bytes)).split("\n");
    rest = parts.pop()!.slice(-MAX_ANSWER);
    for (const line of parts) {
      const [, number, code] = /^openbox (\d+) (\d+)$/.exec(line) ?? [];
      if (number === undefined) {
        if (lines.length < MAX_ANSWER) lines.push(line);
        continue;
      }
      waiting.get(Number(number))?.({ code: Number(code), lines });
      waiting.delete(Number(number));
      lines = [];
    }
  };
  readFrames(wire, take, (bytes) => void (said = (said + text(bytes)).slice(-2000))).finally(() => {
    over = true;
    for (const answer of waiting.values()) answer(undefined);
    waiting.clear();
  });
  return {
    said: () => said || lines.join("\n"),
    ask(line, ms = ANSWER_MS) {
      if (over) return Promise.resolve(undefined);
      const number = ++count, answered = Promise.withResolvers<Answer | undefined>();
      const late = setTimeout(() => answered.resolve(undefined), ms);
      waiting.set(number, (answer) => {
        clearTimeout(late);
        answered.resolve(answer);
      });
      wire.write(utf8(`${line}; echo "openbox ${number} $?"\n`)).catch(() =>
        answered.resolve(undefined)
      );
      return answered.promise;
    },
  };
}

/** For the engine to notice that a process whose stream has ended is gone. */
const NOTICE_MS = 5_000;

async function exec(
  engine: Engine,
  container: string,
  { argv, env, cwd, tty }: ExecOptions,
): Promise<Execution> {
  const { id } = await engine.call((docker) =>
    docker.getContainer(container).exec({
      Cmd: argv,
      Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      ...(cwd !== undefined && { WorkingDir: cwd }),
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: !tty,
      Tty: tty,
    })
  );
  const wire = await engine.stream(`/exec/${id}/start`, { Detach: false, Tty: tty });
  return {
    id,
    wire,
    async exitCode() {
      for (
        let waited = 0, wait = 1;
        waited < NOTICE_MS;
        waited += wait, wait = Math.min(wait * 2, 100)
      ) {
        const told = await engine.call((docker) => docker.getExec(id).inspect()).catch(forgotten);
        if (!told) return KILLED;
        if (!told.Running && told.ExitCode !== null) return told.ExitCode;
        await systemClock.sleep(wait);
      }
      return KILLED;
    },
    [Symbol.dispose]: () => wire[Symbol.dispose](),
  };
}

/** Of a shell or a command whose end nobody told. */
export const KILLED = 137;

/** The engine forgets a command with its container. One that cannot be asked knows nothing of either. */
function forgotten(cause: unknown): undefined {
  if (cause instanceof EngineRefusal) return undefined;
  throw new OpenboxError(
    "lost",
    "The docker engine was gone before it told how the command ended",
    {
      hint: "whether it ended is unknown; an engine that starts again ends what it had running",
      cause,
    },
  );
}
