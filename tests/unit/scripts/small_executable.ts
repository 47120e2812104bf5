/**
 * A built executable as scripts/build makes it, save that what is in it is small: its Deno is a script that
 * becomes the real one, and its program tells what it was started with. Its launcher is the real one.
 */
import type { Bundle } from "../../../scripts/bundle.ts";
import { executable } from "../../../scripts/executable.ts";
import { ownTarget, type Target } from "../../../scripts/runtime.ts";

const ROOT = decodeURIComponent(new URL("../../..", import.meta.url).pathname).replace(/\/$/, "");

/** What the program inside prints, as one line of JSON. */
export interface Told {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly main: string;
  readonly flags: readonly string[];
}

const PROGRAM = `const flags = (Deno.env.get("FLAGS") ?? "").split("\\u0001").slice(0, -1);
const env = Deno.env.toObject();
delete env.FLAGS;
console.log(JSON.stringify({ args: Deno.args, env, main: import.meta.url, flags }));
`;

/** Hands its flags on by a variable, since a program cannot see those of its Deno. */
const runtime = (before: string) =>
  `#!/bin/sh
${before}
FLAGS=$(printf '%s\\0' "$@" | tr '\\0' '\\001')
export FLAGS
exec '${Deno.execPath()}' "$@"
`;

export interface SmallExecutable extends AsyncDisposable {
  readonly path: string;
  /** A directory for what a test needs besides. */
  readonly scratch: string;
  readonly cache: string;
  start(args?: readonly string[], options?: StartOptions): Promise<Ended>;
  spawn(args?: readonly string[], options?: StartOptions): Deno.ChildProcess;
  /** Names in the cache. */
  kept(): string[];
}
export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Words before the executable's path: another shell, `setpriv`. */
  readonly wrapper?: readonly string[];
  /** Another path to it. */
  readonly path?: string;
}
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  told(): Told;
}

export interface SmallExecutableOptions {
  readonly target?: Target;
  /** Lines of sh that the Deno inside begins with. */
  readonly before?: string;
  /** Bytes more to unpack. */
  readonly ballast?: number;
  readonly version?: string;
}

export async function makeSmallExecutable(
  { target = ownTarget(), before = "", ballast = 0, version = "0.0.1" }: SmallExecutableOptions =
    {},
): Promise<SmallExecutable> {
  const directory = await Deno.makeTempDir({ prefix: "openbox-small-" });
  const path = `${directory}/bin/openbox`, scratch = `${directory}/scratch`;
  await Deno.mkdir(`${directory}/bin`);
  await Deno.mkdir(scratch);
  // what cannot be compressed, and is the same each time
  let seed = 1;
  const filler = Array.from({ length: ballast }, () => {
    seed = seed * 48271 % 2147483647;
    return String.fromCharCode(33 + seed % 90);
  }).join("");
  const bundle: Bundle = new Map([
    ["main.js", PROGRAM],
    ["chunk_1.js", `// ${version}\n`],
    ...(ballast ? [["filler.js", filler] as const] : []),
  ]);
  const bytes = await executable({
    root: ROOT,
    target,
    version,
    runtime: new TextEncoder().encode(runtime(before)),
    bundle,
  });
  await Deno.writeFile(path, bytes, { mode: 0o755 });
  const cache = `${directory}/cache`;
  const spawn: SmallExecutable["spawn"] = (args = [], options = {}) => {
    const [program, ...words] = [...options.wrapper ?? [], options.path ?? path, ...args];
    return new Deno.Command(program!, {
      args: words,
      clearEnv: true,
      env: {
        PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
        HOME: directory,
        OPENBOX_CACHE: cache,
        ...options.env,
      },
      cwd: options.cwd ?? directory,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  };
  return {
    path,
    scratch,
    cache,
    spawn,
    async start(args, options) {
      const { code, stdout, stderr } = await spawn(args, options).output();
      const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      return {
        code,
        stdout: out!,
        stderr: err!,
        told() {
          if (code !== 0) throw new Error(`it ended with ${code}: ${err}`);
          return JSON.parse(out!);
        },
      };
    },
    kept: () => [...Deno.readDirSync(cache)].map(({ name }) => name).sort(),
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}
