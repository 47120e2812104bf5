/** What it takes to start processes of this machine, and to have them end with us: opened once for a backend. */
import type { Cgroups } from "./cgroup.ts";
import { keepInheritedFds } from "./inherited_fds.ts";
import { Leftovers } from "./native/process.ts";
import { findSetsid } from "./native/shell.ts";
import type { Ptys } from "./pty.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";

/** Disposing it ends what is in `running`. */
export interface Launcher extends AsyncDisposable {
  /** Undefined where this machine has none. */
  readonly cgroups: Cgroups | undefined;
  readonly watchdog: Watchdog;
  /** Private to this process, and gone when it dies. */
  readonly directory: string;
  /** Path of setsid(1), undefined where there is none. */
  readonly setsid: string | undefined;
  readonly leftovers: Leftovers;
  /** What goes on. */
  readonly running: Set<AsyncDisposable>;
  /** Loaded with the first terminal. */
  ptys(): Promise<Ptys>;
}

export interface LauncherOptions {
  findCgroups(): Promise<Cgroups | undefined>;
  /** In which its directory is made; where the system has temporary files unless said otherwise. */
  readonly parent?: string;
}

export async function openLauncher(
  { findCgroups, parent }: LauncherOptions,
): Promise<Launcher> {
  await using stack = new AsyncDisposableStack();
  stack.use(takeDefaultSignals());
  await keepInheritedFds();
  const cgroups = await findCgroups();
  if (cgroups) stack.use(cgroups);
  const directory = await Deno.makeTempDir({ prefix: "openbox-", dir: parent });
  stack.defer(() => Deno.remove(directory, { recursive: true }).catch(() => {}));
  const watchdog = stack.use(await startWatchdog({ directory, cgroups: cgroups?.path }));
  const leftovers = stack.adopt(new Leftovers(), (outputs) => outputs.cancel());
  let opened: Promise<Ptys> | undefined;
  stack.defer(async () => await (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]());
  const running = new Set<AsyncDisposable>();
  stack.defer(async () => {
    await Promise.all([...running].map((one) => one[Symbol.asyncDispose]()));
  });
  const setsid = await findSetsid();
  const owned = stack.move();
  return {
    cgroups,
    watchdog,
    directory,
    setsid,
    leftovers,
    running,
    ptys: () => opened ??= import("./pty.ts").then(({ openPtys }) => openPtys()),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/**
 * A signal that our parent had us ignore would be ignored by every command as well (a shell does that to
 * SIGINT of what it starts with `&`, nohup to SIGHUP): one that is caught has its default in a child.
 */
function takeDefaultSignals(): Disposable {
  const caught = ["SIGHUP", "SIGINT", "SIGQUIT"] as const;
  const nothing = () => {};
  for (const name of caught) Deno.addSignalListener(name, nothing);
  return {
    [Symbol.dispose]() {
      for (const name of caught) Deno.removeSignalListener(name, nothing);
    },
  };
}
