/** `openbox control` as a process of its own, with the permissions that it is documented to need. */
import { baseEnv } from "../fixtures/base_env.ts";
import { LAUNCHER } from "../fixtures/openbox.ts";
import { eventually } from "../fixtures/processes.ts";

export interface ControlProcess extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** From the start of the process to the line that says where it listens. */
  readonly startMs: number;
  stdout(): string;
  stderr(): string;
  kill(signal: Deno.Signal): void;
  readonly ended: Promise<Deno.CommandStatus>;
}

export interface ControlOptions {
  readonly home: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** How many descriptors it may have. */
  readonly maxFiles?: number;
}

/** Resolves when it listens; rejects with what it said when it ended instead. */
export async function startControl(options: ControlOptions): Promise<ControlProcess> {
  const started = performance.now();
  const { child, stdout, stderr, read } = spawn(options);
  const process = {
    pid: child.pid,
    stdout,
    stderr,
    kill: (signal: Deno.Signal) => child.kill(signal),
    ended: child.status,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // it ended before
      }
      await child.status;
      await read;
    },
  };
  let ended = false;
  child.status.then(() => ended = true);
  try {
    const line = await eventually("control plane listens", () => {
      if (ended) throw new Error(`it ended: ${stdout()}${stderr()}`);
      return stdout().match(/^log in with: .*--server (\S+).*\n/m) ?? undefined;
    }, 20_000);
    return { ...process, url: line[1]!, startMs: performance.now() - started };
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs it to its end. */
export async function runControl(
  options: ControlOptions,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { child, stdout, stderr, read } = spawn(options);
  const { code } = await child.status;
  await read;
  return { code, stdout: stdout(), stderr: stderr() };
}

function spawn({ home, args = [], env = {}, maxFiles }: ControlOptions) {
  const limit = maxFiles === undefined ? "" : `ulimit -n ${maxFiles}; `;
  const child = new Deno.Command("/bin/sh", {
    args: [
      ...["-c", `${limit}exec "$0" "$@"`, LAUNCHER, "control", ...args],
    ],
    clearEnv: true,
    env: {
      ...baseEnv(),
      OPENBOX_HOME: home,
      OPENBOX_ADDR: "127.0.0.1:0",
      ...env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const out = collect(child.stdout), err = collect(child.stderr);
  return { child, stdout: out.text, stderr: err.text, read: Promise.all([out.end, err.end]) };
}

/** What comes is kept as text. */
export function collect(
  stream: ReadableStream<Uint8Array>,
): { text(): string; end: Promise<void> } {
  const decoder = new TextDecoder();
  let text = "";
  const end = (async () => {
    for await (const part of stream) text += decoder.decode(part, { stream: true });
  })();
  return { text: () => text, end };
}

/** A home that goes away with the test. */
export async function temporaryHome(): Promise<{ readonly path: string } & AsyncDisposable> {
  const root = await Deno.makeTempDir({ prefix: "openbox-control-" });
  return {
    path: `${root}/home`,
    [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }),
  };
}

export const bootstrapToken = async (home: string): Promise<string> =>
  (await Deno.readTextFile(`${home}/control/bootstrap_token`)).trim();
