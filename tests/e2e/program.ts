/** A program as a process, with exactly the environment given; what it says is kept. */
import { collect } from "./control_process.ts";

export interface ProgramOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly stdin?: string;
}

export interface RunningProgram extends AsyncDisposable {
  stdout(): string;
  stderr(): string;
  /** As others on the machine see them. */
  arguments(): string;
  kill(signal: Deno.Signal): void;
  readonly ended: Promise<Deno.CommandStatus>;
}

export function startProgram(
  path: string,
  args: readonly string[],
  { env, cwd, stdin }: ProgramOptions,
): RunningProgram {
  const child = new Deno.Command(path, {
    args: [...args],
    clearEnv: true,
    env: { ...env },
    cwd,
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const out = collect(child.stdout), err = collect(child.stderr);
  const fed = stdin === undefined ? Promise.resolve() : feed(child.stdin, stdin);
  const ended = child.status.then(async (status) => {
    await Promise.all([out.end, err.end, fed]);
    return status;
  });
  return {
    stdout: out.text,
    stderr: err.text,
    arguments: () =>
      new TextDecoder().decode(
        new Deno.Command("/bin/ps", { args: ["-ww", "-o", "args=", "-p", String(child.pid)] })
          .outputSync().stdout,
      ),
    kill: (signal) => child.kill(signal),
    ended,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // it ended before
      }
      await ended;
    },
  };
}

/** Runs it to its end. */
export async function runProgram(
  path: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<{ code: number; stdout: string; stderr: string }> {
  await using program = startProgram(path, args, options);
  const { code } = await program.ended;
  return { code, stdout: program.stdout(), stderr: program.stderr() };
}

async function feed(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch {
    // it did not want it all
  }
}
