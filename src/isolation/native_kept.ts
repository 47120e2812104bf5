/** A shell that stays on the machine itself: its tree, its named pipes, and the end of all of it. */
import { utf8 } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import type { Exit, KeptShell, Shell } from "./backend.ts";
import type { Cgroup, Cgroups } from "./cgroup.ts";
import { openTo, requireDirectory, startAs } from "./native_account.ts";
import { exitOf, groupExists, sendSignal } from "./native_process.ts";
import { type NamedPipes, openPipes, openRelay } from "./native_relay.ts";
import { joining, startLeader } from "./native_shell.ts";
import { listDescendants } from "./process_list.ts";
import type { Watchdog } from "./watchdog.ts";

export interface KeptDeps {
  readonly cgroups: Cgroups | undefined;
  readonly watchdog: Watchdog;
  /** Path of setsid(1), undefined where there is none. */
  readonly setsid: string | undefined;
  /** In which the shell gets a directory of its own. */
  readonly directory: string;
  /** Has itself in it as long as it goes on. */
  readonly running: Set<AsyncDisposable>;
}

/** For a shell to end by itself once its input has ended. */
const FAREWELL_MS = 200;
/** For SIGKILL to take effect. What waits for a disk longer than that is not waited for. */
const KILL_MS = 1_000;
const POLL_MS = 5;

/** By joining before it becomes the shell, so that nothing of it escapes; whether or not it could join. */
const JOIN = '{ echo 0 >"$0"; } 2>/dev/null || :; exec "$@"';

export async function startKeptShell(shell: Shell, deps: KeptDeps): Promise<KeptShell> {
  const { account } = shell;
  if (account) await requireDirectory(account, shell);
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ dir: deps.directory, prefix: "session-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }).catch(() => {}));
  for (const path of [deps.directory, directory]) await openTo(account, path);
  const pipes = stack.use(await openPipes(directory, account));
  const cgroup = deps.cgroups?.create();
  if (cgroup) stack.defer(() => cgroup.release());
  const child = start(shell, cgroup, deps.setsid);
  stack.use(deps.watchdog.guard(child.pid, cgroup?.path));
  const tree = new Tree(child, cgroup);
  const input = child.stdin.getWriter();
  const drained = drain(child.stderr);
  stack.defer(async () => {
    await input.close().catch(() => {}); // gone
    await tree.end();
    await child.stdout.cancel().catch(() => {}); // somebody reads it, to its end
    await drained.cancel();
  });
  const owned = stack.move();
  const one = kept(shell, pipes, tree, input, child.stdout, owned, deps);
  deps.running.add(one);
  owned.defer(() => void deps.running.delete(one));
  return one;
}

function kept(
  { env, account }: Shell,
  pipes: NamedPipes,
  tree: Tree,
  input: WritableStreamDefaultWriter<Uint8Array>,
  stdout: ReadableStream<Uint8Array>,
  owned: AsyncDisposableStack,
  { watchdog, setsid }: KeptDeps,
): KeptShell {
  return {
    stdout,
    exit: tree.exit,
    tell: (text) => input.write(utf8(text)).catch(() => {}),
    // what an account has in its PATH must not run as us
    openRelay: async () =>
      openRelay(await pipes.take(), {
        watchdog,
        setsid,
        account,
        path: account ? undefined : env.PATH,
      }),
    processes: () => tree.processes(),
    interrupt: () => tree.interrupt(),
    signal: (pids, signal) => tree.signal(pids, signal),
    kill: () => tree.kill(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function start(
  { argv, env, cwd, account }: Shell,
  cgroup: Cgroup | undefined,
  setsid: string | undefined,
): Deno.ChildProcess {
  const joined = cgroup ? ["/bin/sh", "-c", JOIN, cgroup.joinFile, ...argv] : argv;
  const start = account
    ? startAs(account, { argv, env, cwd }, cgroup ? joining(cgroup.joinFile) : "")
    : { argv: joined, env, cwd };
  return startLeader("a shell", start.argv, start, { setsid, streams: "piped" });
}

/** What the shell says on its own stderr is about its prompts and jobs, and meant for nobody. */
function drain(stream: ReadableStream<Uint8Array>): { cancel(): Promise<void> } {
  const reader = stream.getReader();
  const done = (async () => {
    while (!(await reader.read()).done);
  })().catch(() => {});
  return {
    async cancel() {
      await reader.cancel().catch(() => {});
      await done;
    },
  };
}

/** The shell and all that it started. Its group has its number as long as somebody is in it. */
class Tree {
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
    await this.#within(FAREWELL_MS, () => this.#exited);
    const outside = this.#cgroup ? [] : await listDescendants(this.#pid);
    if (!this.#exited || groupExists(this.#pid)) sendSignal(-this.#pid, "SIGKILL");
    this.kill();
    this.signal(outside, "SIGKILL");
    this.#cgroup?.signal("SIGKILL");
    // where PID 1 is slow to reap, a group of zombies exists on; a cgroup does not count them
    const isGone = () => this.#cgroup ? this.#cgroup.isEmpty() : !groupExists(this.#pid);
    await this.#within(KILL_MS, () => this.#exited && isGone());
  }
  async #within(ms: number, isTrue: () => boolean): Promise<void> {
    for (const deadline = performance.now() + ms; !isTrue();) {
      if (performance.now() > deadline) return;
      await systemClock.sleep(POLL_MS);
    }
  }
}
