/** A shell that stays on the machine itself: its tree, its named pipes, and the end of all of it. */
import { text, utf8 } from "../../bytes.ts";
import type { Account, Exit, KeptShell, Shell } from "../backend.ts";
import { within } from "../within.ts";
import { type Cgroup, type Cgroups, createCgroup, joining } from "../cgroup.ts";
import { openTo, requireDirectory, startAs } from "./account.ts";
import { exitOf, groupExists, sendSignal } from "./process.ts";
import { type NamedPipes, openPipes, openRelay } from "./relay.ts";
import { startLeader } from "./shell.ts";
import { GOES_FIRST } from "../oom.ts";
import { listDescendants } from "../process_list.ts";
import type { Watchdog } from "../watchdog.ts";

export interface KeptDeps {
  readonly watchdog: Watchdog;
  /** Path of setsid(1), undefined where there is none. */
  readonly setsid: string | undefined;
  /** Has itself in it as long as it goes on. */
  readonly running: Set<AsyncDisposable>;
}

export interface NativeKeptDeps extends KeptDeps {
  readonly cgroups: Cgroups | undefined;
  /** In which the shell gets a directory of its own. */
  readonly directory: string;
}

/** A shell and all that it started. */
export interface ShellTree {
  readonly exit: Promise<Exit>;
  /** But for the shell itself. */
  processes(): Promise<ReadonlySet<number>>;
  interrupt(): void;
  signal(pids: Iterable<number>, signal: Deno.Signal): void;
  /** The shell alone. */
  kill(): void;
  /** Its input has ended, so it may end by itself. Then ends all of it, and waits. */
  end(): Promise<void>;
}

/** What a kept shell is made of. */
export interface KeptParts {
  /** Has the shell's streams. */
  readonly child: Deno.ChildProcess;
  readonly tree: ShellTree;
  readonly pipes: NamedPipes;
  /** Whose shell it is, where it is not our own. */
  readonly account: Account | undefined;
  /** PATH of the relays. */
  readonly path: string | undefined;
}

/** For a shell to end by itself once its input has ended. */
export const FAREWELL_MS = 200;
/** For SIGKILL to take effect. What waits for a disk longer than that is not waited for. */
export const KILL_MS = 1_000;
const POLL_MS = 5;

export async function startKeptShell(shell: Shell, deps: NativeKeptDeps): Promise<KeptShell> {
  const { account } = shell;
  if (account) await requireDirectory(account, shell);
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ dir: deps.directory, prefix: "session-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }).catch(() => {}));
  for (const path of [deps.directory, directory]) await openTo(account, path);
  const pipes = stack.use(await openPipes(directory, account));
  const cgroup = createCgroup(deps.cgroups, shell.confinement);
  if (cgroup) stack.defer(() => cgroup.release());
  const child = start(shell, cgroup, deps.setsid);
  stack.use(deps.watchdog.guard(child.pid, cgroup?.path));
  const tree = new NativeTree(child, cgroup);
  // what an account has in its PATH must not run as us
  const path = account ? undefined : shell.env.PATH;
  const parts = { child, tree, pipes, path, account };
  return ownKeptShell(parts, stack.move(), deps).shell;
}

/** What is in `owned` is disposed of after the shell. */
export function ownKeptShell(
  { child, tree, pipes, path, account }: KeptParts,
  owned: AsyncDisposableStack,
  { watchdog, setsid, running }: KeptDeps,
): { readonly shell: KeptShell; readonly noise: Noise } {
  const input = child.stdin.getWriter();
  const noise = drain(child.stderr);
  const shell: KeptShell = {
    stdout: child.stdout,
    exit: tree.exit,
    tell: (text) => input.write(utf8(text)).catch(() => {}),
    openRelay: async () => openRelay(await pipes.take(), { watchdog, setsid, path, account }),
    processes: () => tree.processes(),
    interrupt: () => tree.interrupt(),
    signal: (pids, signal) => tree.signal(pids, signal),
    kill: () => tree.kill(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
  owned.defer(async () => {
    await input.close().catch(() => {}); // gone
    await tree.end();
    await child.stdout.cancel().catch(() => {}); // somebody reads it, to its end
    await noise.cancel();
  });
  running.add(shell);
  owned.defer(() => void running.delete(shell));
  return { shell, noise };
}

function start(
  { argv, env, cwd, account }: Shell,
  cgroup: Cgroup | undefined,
  setsid: string | undefined,
): Deno.ChildProcess {
  // by joining before it becomes the shell, so that nothing of it escapes
  const before = GOES_FIRST + joining(cgroup);
  const inside = ["/bin/sh", "-c", `${before}exec "$@"`, "openbox-session", ...argv];
  const start = account ? startAs(account, { argv, env, cwd }, before) : { argv: inside, env, cwd };
  return startLeader("a shell", start.argv, start, { setsid, streams: "piped" });
}

/** What the shell says on its own stderr is about its prompts and jobs, and meant for nobody. */
export interface Noise {
  /** The last of it, once it has ended. */
  readonly said: Promise<string>;
  cancel(): Promise<void>;
}

const MAX_SAID = 4096;

function drain(stream: ReadableStream<Uint8Array>): Noise {
  const reader = stream.getReader();
  let tail = "";
  const said = (async () => {
    for (let part; !(part = await reader.read()).done;) {
      tail = (tail + text(part.value)).slice(-MAX_SAID);
    }
    return tail;
  })().catch(() => tail);
  return {
    said,
    async cancel() {
      await reader.cancel().catch(() => {});
      await said;
    },
  };
}

/** The shell and all that it started. Its group has its number as long as somebody is in it. */
class NativeTree implements ShellTree {
  readonly exit: Promise<Exit>;
  readonly #pid: number;
  readonly #cgroup: Cgroup | undefined;
  #exited = false;
  constructor(child: Deno.ChildProcess, cgroup: Cgroup | undefined) {
    this.#pid = child.pid;
    this.#cgroup = cgroup;
    this.exit = exitOf(child).finally(() => this.#exited = true);
  }
  async processes(): Promise<ReadonlySet<number>> {
    const inGroup = this.#cgroup?.processes() ?? [];
    const found = inGroup.length > 0 ? inGroup : await listDescendants(this.#pid);
    return new Set(found.filter((pid) => pid !== this.#pid));
  }
  interrupt(): void {
    // just started, it may not lead its group yet
    if (!this.#exited && !sendSignal(-this.#pid, "SIGINT")) sendSignal(this.#pid, "SIGINT");
  }
  signal(pids: Iterable<number>, signal: Deno.Signal): void {
    for (const pid of pids) sendSignal(pid, signal);
  }
  kill(): void {
    if (!this.#exited) sendSignal(this.#pid, "SIGKILL");
  }
  async end(): Promise<void> {
    await within(FAREWELL_MS, () => this.#exited, POLL_MS);
    // where there is no asking, its group still ends
    const outside = this.#cgroup ? [] : await listDescendants(this.#pid).catch(() => []);
    if (!this.#exited || groupExists(this.#pid)) sendSignal(-this.#pid, "SIGKILL");
    this.kill();
    this.signal(outside, "SIGKILL");
    this.#cgroup?.signal("SIGKILL");
    // where PID 1 is slow to reap, a group of zombies exists on; a cgroup does not count them
    const isGone = () => this.#cgroup ? this.#cgroup.isEmpty() : !groupExists(this.#pid);
    await within(KILL_MS, () => this.#exited && isGone(), POLL_MS);
  }
}
