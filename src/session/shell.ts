/**
 * One persistent shell: its commands run one after another, each with streams of its own. How a command
 * ended is what the shell answers on its own stdout, which no command can reach.
 */
import { abortable, type AbortOptions, deadline } from "../abort.ts";
import { text } from "../bytes.ts";
import { OpenboxError } from "../errors.ts";
import type {
  Exit,
  IsolationBackend,
  KeptShell,
  Process,
  Relay,
  Shell,
} from "../isolation/backend.ts";
import type { IsolationSpec } from "../isolation/spec.ts";
import { type CommandDeps, startCommand } from "./command.ts";
import type { Dialect } from "./dialect.ts";

/** Disposing it ends its whole tree and waits. */
export interface SessionShell extends AsyncDisposable {
  /** Starts a command. The one before has exited, and its outputs are read or given up. */
  run(line: Uint8Array): Promise<Process>;
  /** How the shell itself ended. */
  readonly exit: Promise<Exit>;
  readonly ended: boolean;
}

export interface SessionShellOptions extends Omit<Shell, "argv" | "terminal"> {
  readonly dialect: Dialect;
}

/** For a shell to answer its first line. */
const START_MS = 10_000;
/** For one that was interrupted to answer again. */
const ANSWER_MS = 1_000, ASK_AGAIN_MS = 50;
/** What background jobs write on is drained, a few at a time: each costs processes. */
const MOST_LINGERING = 16;

/** Throws as `keepShell` does, and `unavailable` where the shell does not answer. */
export async function openSessionShell(
  backend: IsolationBackend,
  spec: IsolationSpec,
  { dialect, ...place }: SessionShellOptions,
  options: AbortOptions = {},
): Promise<SessionShell> {
  await using stack = new AsyncDisposableStack();
  const shell = stack.use(await backend.keepShell(spec, { argv: dialect.argv, ...place }, options));
  const token = crypto.randomUUID();
  const answers = new Answers(shell, token);
  const lingering = new Set<AsyncDisposable>();
  stack.defer(async () => {
    await Promise.all([...lingering].map((relay) => relay[Symbol.asyncDispose]()));
  });
  let count = 0, ended = false, unsure = false;
  // its processes take longer to start than a short command to run: they wait for the next one
  let ready: Promise<Relay | undefined> | undefined;
  const prepareRelay = () => {
    if (!ended) ready ??= shell.openRelay().catch(() => undefined); // whoever needs one is told
  };
  const takeRelay = async (): Promise<Relay> => {
    const relay = await ready;
    ready = undefined;
    if (relay && !relay.gone) return relay;
    await relay?.[Symbol.asyncDispose]();
    return await shell.openRelay();
  };
  stack.defer(async () => await (await ready)?.[Symbol.asyncDispose]());
  const exit = shell.exit.finally(() => ended = true);

  async function requireAnswer(
    { ms, again, signal }: { ms: number; again: boolean; signal?: AbortSignal },
  ): Promise<void> {
    const number = ++count, answered = answers.of(number);
    const late = () => new OpenboxError("unavailable", "The session's shell does not answer");
    using limit = deadline(ms, late, { signal });
    const ask = () => void shell.tell(dialect.answer(number, token));
    ask();
    const timer = again ? setInterval(ask, ASK_AGAIN_MS) : undefined;
    try {
      await abortable(Promise.race([answered, exit.then(() => gone())]), limit.signal);
    } finally {
      clearInterval(timer);
    }
  }

  await shell.tell(dialect.begin(token));
  prepareRelay();
  await requireAnswer({ ms: START_MS, again: false, signal: options.signal });

  const deps: Omit<CommandDeps, "number"> = {
    shell,
    takeRelay,
    dialect,
    token,
    answers,
    onInterrupt: () => unsure = true,
    onLinger(relay, closed) {
      prepareRelay();
      lingering.add(relay);
      closed.then(() => relay[Symbol.asyncDispose]()).then(() => lingering.delete(relay));
      const [oldest] = lingering;
      if (lingering.size > MOST_LINGERING) void oldest![Symbol.asyncDispose]();
    },
  };
  const owned = stack.move();
  return {
    exit,
    get ended() {
      return ended;
    },
    async run(line) {
      // an interrupt that comes late may take the line away that the shell reads by then
      if (unsure) await requireAnswer({ ms: ANSWER_MS, again: true });
      unsure = false;
      if (ended) gone();
      return await startCommand(line, { ...deps, number: ++count });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function gone(): never {
  throw new OpenboxError("unavailable", "The session's shell has ended");
}

/** What the shell says on its stdout: lines with our token; anything else there is noise. */
export class Answers {
  readonly #waiting = new Map<number, (code: number) => void>();
  constructor(shell: KeptShell, token: string) {
    this.#read(shell, token).catch(() => {}); // its end is the shell's
  }
  /** The code with which the command of this number ended; for ever pending where the shell ends before. */
  of(number: number): Promise<number> {
    return new Promise((resolve) => this.#waiting.set(number, resolve));
  }
  async #read({ stdout }: KeptShell, token: string): Promise<void> {
    let rest = "";
    for await (const chunk of stdout) {
      const lines = (rest + text(chunk)).split("\n");
      rest = lines.pop()!.slice(-MAX_LINE);
      for (const line of lines) {
        const [given, number, code] = line.split(" ");
        if (given !== token) continue;
        this.#waiting.get(Number(number))?.(Number(code));
        this.#waiting.delete(Number(number));
      }
    }
  }
}

const MAX_LINE = 1024;
