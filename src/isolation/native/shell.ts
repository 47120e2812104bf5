/** Starts `/bin/sh` with a command line of any length, in a group of its own and, where there is one, a cgroup. */
import { OpenboxError } from "../../errors.ts";
import { quoteWord } from "../../shell_word.ts";
import type { Account, Command } from "../backend.ts";
import { type Cgroup, type Cgroups, createCgroup, joining } from "../cgroup.ts";
import { giveTo, openTo, requireDirectory, startAs } from "./account.ts";
import { GOES_FIRST } from "../oom.ts";
import type { Pty, Ptys } from "../pty.ts";
import { asArgument, shellArgv } from "../shell_line.ts";

export interface StartedShell {
  readonly child: Deno.ChildProcess;
  readonly cgroup: Cgroup | undefined;
  /** Where the line went into a file. */
  readonly file: string | undefined;
  /** Where the command asked for a terminal; then the child has no pipes. */
  readonly pty: Pty | undefined;
}

export interface ShellDeps {
  readonly cgroups: Cgroups | undefined;
  readonly lines: LineFiles;
  /** Path of setsid(1), undefined where there is none. */
  readonly setsid: string | undefined;
  /** Loaded with the first terminal. */
  ptys(): Promise<Ptys>;
}

/**
 * Where setsid(1) is. With it the process starts by posix_spawn; Deno's own `detached` forks this process
 * first, which copies its page tables: 4 to 8 ms during which nothing else happens here, against 0.4.
 * macOS has none.
 */
export async function findSetsid(): Promise<string | undefined> {
  for (const path of ["/usr/bin/setsid", "/bin/setsid"]) {
    const found = await Deno.stat(path).then(({ isFile }) => isFile, () => false);
    if (found) return path;
  }
  return undefined;
}

export async function startShell(
  command: Command,
  { cgroups, lines, setsid, ptys }: ShellDeps,
): Promise<StartedShell> {
  const { terminal, account } = command;
  if (account) await requireDirectory(account, command);
  let cgroup: Cgroup | undefined, pty: Pty | undefined, file: string | undefined;
  try {
    cgroup = createCgroup(cgroups, command.confinement);
    pty = terminal && (await ptys()).open(terminal);
    const place = { cgroup, setsid, pty };
    const line = asArgument(command.line);
    const child = line === undefined ? undefined : spawn(line, command, place);
    if (child) return { child, cgroup, file, pty };
    file = await lines.write(command.line, account);
    const sourcing = spawn(`. ${quoteWord(file)}`, command, place);
    if (sourcing) return { child: sourcing, cgroup, file, pty };
    throw new OpenboxError("bad_environment", "The environment is longer than the system takes");
  } catch (error) {
    cgroup?.release();
    pty?.[Symbol.dispose]();
    await lines.remove(file);
    if (error instanceof OpenboxError) throw error;
    const why = await whyNotIn(command.cwd, error);
    if (why) throw new OpenboxError("bad_directory", `Cannot start in ${command.cwd}: ${why}`);
    throw cannotStart("a process", error);
  }
}

/** For a spawn that the system refused. */
export const cannotStart = (what: string, cause: unknown): OpenboxError =>
  new OpenboxError("unavailable", `Cannot start ${what}: ${(cause as Error).message}`, {
    hint: "the node is out of processes, memory or descriptors",
    cause,
  });

/** What is wrong with the directory, looked at only once the start has failed: most are right. */
async function whyNotIn(cwd: string | undefined, error: unknown): Promise<string | undefined> {
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  try {
    return (await Deno.stat(cwd ?? "/")).isDirectory ? undefined : "it is not a directory";
  } catch (cause) {
    return cause instanceof Deno.errors.NotFound ? "there is no such directory" : String(cause);
  }
}

/**
 * A session's leader that opens a terminal has it as the controlling one from then on. It is the shell
 * itself that does so, since what started it is not in the session; where it fails the shell ends.
 */
const opening = (path: string): string => `exec 0<>${quoteWord(path)} 1>&0 2>&0; `;

interface Place {
  readonly cgroup: Cgroup | undefined;
  readonly setsid: string | undefined;
  readonly pty: Pty | undefined;
}

/** Undefined where the line, or all of it with the environment, is longer than exec takes (128 KiB, 2 MiB on Linux). */
function spawn(
  line: string,
  { env, cwd, account }: Command,
  { cgroup, setsid, pty }: Place,
): Deno.ChildProcess | undefined {
  const before = GOES_FIRST + joining(cgroup) + (pty ? opening(pty.path) : "");
  const start = account
    ? startAs(account, { argv: shellArgv(line), env, cwd }, before)
    : { argv: shellArgv(before + line), env, cwd };
  try {
    return spawnLeader(start.argv, start, { setsid, streams: pty ? "null" : "piped" });
  } catch (error) {
    if ((error as { code?: string }).code === "E2BIG") return undefined;
    throw error;
  }
}

export interface LeaderOptions {
  /** As `findSetsid` has it. */
  readonly setsid: string | undefined;
  readonly streams: "piped" | "null";
}

/** As `spawnLeader`, but what the system refuses is `unavailable`. */
export function startLeader(
  what: string,
  argv: readonly string[],
  place: Pick<Command, "env" | "cwd">,
  options: LeaderOptions,
): Deno.ChildProcess {
  try {
    return spawnLeader(argv, place, options);
  } catch (cause) {
    throw cannotStart(what, cause);
  }
}

/** A process that leads a session and a group of its own. */
export function spawnLeader(
  argv: readonly string[],
  { env, cwd }: Pick<Command, "env" | "cwd">,
  { setsid, streams }: LeaderOptions,
): Deno.ChildProcess {
  const [program, ...args] = setsid === undefined ? argv : [setsid, ...argv];
  const mask = Deno.umask(0o022);
  try {
    return new Deno.Command(program!, {
      args,
      env,
      clearEnv: true,
      cwd: cwd ?? "/",
      detached: setsid === undefined,
      stdin: streams,
      stdout: streams,
      stderr: streams,
    }).spawn();
  } finally {
    Deno.umask(mask);
  }
}

/** Command lines too long for an argument. Read by `.`, a line keeps `$0`, `$#` and the whole of stdin. */
export class LineFiles {
  readonly #directory: string;
  #count = 0;
  constructor(directory: string) {
    this.#directory = directory;
  }
  async write(line: Uint8Array, account: Account | undefined): Promise<string> {
    const path = `${this.#directory}/${this.#count++}`;
    await openTo(account, this.#directory);
    await Deno.writeFile(path, line, { createNew: true, mode: 0o600 });
    await giveTo(account, path);
    return path;
  }
  async remove(path: string | undefined): Promise<void> {
    if (path !== undefined) await Deno.remove(path).catch(() => {});
  }
}
