/** An isolation in memory: what a line does is a function of the test. The contract suite holds it to what backends promise. */
import { utf8 } from "../../src/bytes.ts";
import { OpenboxError } from "../../src/errors.ts";
import type {
  Command,
  Exit,
  IsolationBackend,
  Process,
  ScreenSize,
} from "../../src/isolation/backend.ts";
import type { IsolationSpec } from "../../src/isolation/spec.ts";
import { text } from "../../src/bytes.ts";

export interface FakeRun {
  readonly command: Command;
  /** One chunk a call, undefined at EOF. */
  read(): Promise<Uint8Array | undefined>;
  /** Resolves once it was read; throws once its reader is gone. */
  write(stream: "stdout" | "stderr", chunk: string | Uint8Array): Promise<void>;
  /** Never settles but by a signal that ends the run. */
  wait(): Promise<never>;
  /** Signals that came and did not end it. */
  readonly signals: readonly Deno.Signal[];
  /** Sizes of its terminal, the first one included. */
  readonly sizes: readonly ScreenSize[];
}

/** Returns the exit code. */
export type FakeProgram = (run: FakeRun) => Promise<number>;

export interface FakeBackend extends IsolationBackend {
  readonly commands: Command[];
}

const NUMBER: Partial<Record<Deno.Signal, number>> = {
  SIGINT: 2,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};

export interface FakeBackendOptions {
  readonly kind?: IsolationSpec["kind"];
  /** The only `cwd`s that exist. */
  readonly directories?: readonly string[];
  /** The only programs that are found. */
  readonly present?: readonly string[];
}

/** A line that is not in `programs` is not found: exit 127. */
export function fakeBackend(
  programs: Readonly<Record<string, FakeProgram>>,
  { kind = "native", directories = ["/"], present = [] }: FakeBackendOptions = {},
): FakeBackend {
  const commands: Command[] = [];
  return {
    kind,
    commands,
    run(spec, command, { signal } = {}) {
      return Promise.resolve().then(() => {
        signal?.throwIfAborted();
        refuse(spec, command, { kind, directories });
        commands.push(command);
        return start(command, programs[text(command.line)] ?? (() => Promise.resolve(127)));
      });
    },
    findProgram: (_spec, paths) => Promise.resolve(paths.find((path) => present.includes(path))),
    keepShell: () =>
      Promise.reject(new OpenboxError("isolation_unavailable", "no shell stays in memory")),
  };
}

function refuse(
  spec: IsolationSpec,
  { line, env, cwd }: Command,
  { kind, directories }: Required<Omit<FakeBackendOptions, "present">>,
) {
  if (spec.kind !== kind) throw new OpenboxError("isolation_unavailable", spec.kind);
  if (line.includes(0)) throw new OpenboxError("bad_request", "NUL");
  if (Object.keys(env).some((name) => name.includes("="))) {
    throw new OpenboxError("bad_environment", "=");
  }
  if (cwd && !directories.includes(cwd)) throw new OpenboxError("bad_directory", cwd);
}

function start(command: Command, program: FakeProgram): Process {
  const input = new TransformStream<Uint8Array, Uint8Array>();
  const outputs = { stdout: new TransformStream(), stderr: new TransformStream() };
  const writers = {
    stdout: outputs.stdout.writable.getWriter(),
    stderr: outputs.stderr.writable.getWriter(),
  };
  const reader = input.readable.getReader();
  const killed = Promise.withResolvers<never>();
  killed.promise.catch(() => {});
  const signals: Deno.Signal[] = [];
  const { terminal } = command;
  const sizes: ScreenSize[] = terminal ? [terminal] : [];

  class Killed extends Error {
    constructor(readonly signal: Deno.Signal) {
      super(signal);
    }
  }
  const kill = (signal: Deno.Signal) => {
    if (NUMBER[signal] === undefined) signals.push(signal);
    else killed.reject(new Killed(signal));
  };

  const exit: Promise<Exit> = Promise.race([
    killed.promise,
    program({
      command,
      signals,
      sizes,
      wait: () => killed.promise,
      read: async () => (await reader.read()).value,
      write: async (stream, chunk) => {
        const bytes = typeof chunk === "string" ? utf8(chunk) : chunk;
        await writers[terminal ? "stdout" : stream].write(bytes).catch(() => kill("SIGPIPE"));
      },
    }),
  ]).then(
    (code) => ({ kind: "exit" as const, code }),
    (error) => {
      if (!(error instanceof Killed)) throw error;
      const name = error.signal.slice(3);
      return { kind: "signal" as const, signal: name, number: NUMBER[error.signal]! };
    },
  ).finally(() => {
    for (const writer of Object.values(writers)) writer.close().catch(() => {});
    reader.cancel().catch(() => {});
  });

  const terminate = async () => {
    kill("SIGTERM");
    await exit.catch(() => {});
  };
  return {
    stdin: input.writable,
    stdout: outputs.stdout.readable,
    stderr: outputs.stderr.readable,
    exit,
    kill,
    resize: (size) => void (terminal && sizes.push(size)),
    terminate,
    [Symbol.asyncDispose]: terminate,
  };
}
