/**
 * Commands on the machine itself: `/bin/sh -c`, a session and process group of its own, on Linux as root
 * also a cgroup of its own. No sandbox: a command may do whatever the login of the agent may.
 */
import { type AbortOptions, abortReason } from "../abort.ts";
import { OpenboxError } from "../errors.ts";
import type { Command, IsolationBackend } from "./backend.ts";
import { type Cgroups, openCgroups } from "./cgroup.ts";
import { writtenLimits } from "./confinement.ts";
import { keepInheritedFds } from "./inherited_fds.ts";
import { startKeptShell } from "./native_kept.ts";
import { Leftovers, ownProcess } from "./native_process.ts";
import { findSetsid, LineFiles, startShell } from "./native_shell.ts";
import type { Ptys } from "./pty.ts";
import type { IsolationSpec } from "./spec.ts";
import { startWatchdog } from "./watchdog.ts";

/** Disposing it ends the commands that still go on. */
export type NativeBackend = IsolationBackend & AsyncDisposable;

export interface NativeOptions {
  /** Undefined where this machine has none. */
  findCgroups?(): Promise<Cgroups | undefined>;
}

export async function openNativeBackend(
  { findCgroups = openCgroups }: NativeOptions = {},
): Promise<NativeBackend> {
  await using stack = new AsyncDisposableStack();
  stack.use(takeDefaultSignals());
  await keepInheritedFds();
  const cgroups = await findCgroups();
  if (cgroups) stack.use(cgroups);
  const directory = await Deno.makeTempDir({ prefix: "openbox-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }).catch(() => {}));
  const watchdog = stack.use(await startWatchdog({ directory, cgroups: cgroups?.path }));
  const leftovers = stack.adopt(new Leftovers(), (outputs) => outputs.cancel());
  let opened: Promise<Ptys> | undefined;
  const ptys = () => opened ??= import("./pty.ts").then(({ openPtys }) => openPtys());
  stack.defer(async () => await (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]());
  const running = new Set<AsyncDisposable>();
  stack.defer(async () => {
    await Promise.all([...running].map((one) => one[Symbol.asyncDispose]()));
  });

  const setsid = await findSetsid();
  const owned = stack.move();
  const lines = new LineFiles(directory);
  return {
    kind: "native",
    async run(spec, command, options = {}) {
      check(spec, command, options);
      const started = await startShell(command, { cgroups, lines, setsid, ptys });
      const one = ownProcess(started, { watchdog, leftovers, onEnd: () => running.delete(one) });
      running.add(one);
      return one;
    },
    async findProgram(_spec, paths) {
      for (const path of paths) if (await isExecutable(path)) return path;
      return undefined;
    },
    async keepShell(spec, shell, options = {}) {
      check(spec, shell, options);
      return await startKeptShell(shell, { cgroups, watchdog, setsid, directory, running });
    },
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

const isExecutable = (path: string): Promise<boolean> =>
  Deno.stat(path).then(({ isFile, mode }) => isFile && ((mode ?? 0) & 0o111) !== 0, () => false);

function check(
  spec: IsolationSpec,
  { line, env, confinement }: Omit<Command, "line"> & Partial<Command>,
  { signal }: AbortOptions,
): void {
  if (spec.kind !== "native") {
    throw new OpenboxError("isolation_unavailable", `${spec.kind} is not native`);
  }
  if (line?.includes(0)) throw new OpenboxError("bad_request", "The command holds a NUL byte");
  for (const [name, value] of Object.entries(env)) {
    if (name === "" || /[=\0]/.test(name) || value.includes("\0")) {
      throw new OpenboxError(
        "bad_environment",
        `The variable ${JSON.stringify(name.slice(0, 80))} cannot be set`,
      );
    }
  }
  for (const limit of writtenLimits(confinement ?? {}).keys()) {
    throw new OpenboxError("limit_unsupported", `--${limit} cannot be held in native here`);
  }
  if (signal?.aborted) throw abortReason(signal);
}
