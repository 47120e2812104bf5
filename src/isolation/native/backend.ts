/**
 * Commands on the machine itself: `/bin/sh -c`, a session and process group of its own, on Linux as root
 * also a cgroup of its own. No sandbox: a command may do whatever the login of the agent may.
 */
import type { AbortOptions } from "../../abort.ts";
import { OpenboxError } from "../../errors.ts";
import type { Command, IsolationBackend } from "../backend.ts";
import { type Cgroups, openCgroups } from "../cgroup.ts";
import { requireRunnable } from "../command_check.ts";
import { openLauncher } from "../launcher.ts";
import { requireConfinable } from "../confinement.ts";
import { startKeptShell } from "./kept.ts";
import { ownProcess } from "./process.ts";
import { LineFiles, startShell } from "./shell.ts";
import { isExecutable } from "../executable.ts";
import type { IsolationSpec } from "../spec.ts";

/** Disposing it ends the commands that still go on. */
export type NativeBackend = IsolationBackend & AsyncDisposable;

export interface NativeOptions {
  /** Undefined where this machine has none. */
  findCgroups?(): Promise<Cgroups | undefined>;
}

export async function openNativeBackend(
  { findCgroups = openCgroups }: NativeOptions = {},
): Promise<NativeBackend> {
  const launcher = await openLauncher({ findCgroups });
  const { running, directory } = launcher;
  const lines = new LineFiles(directory);
  return {
    kind: "native",
    async run(spec, command, options = {}) {
      check(spec, command, options);
      const started = await startShell(command, { ...launcher, lines });
      const one = ownProcess(started, { ...launcher, onEnd: () => running.delete(one) });
      running.add(one);
      return one;
    },
    async findProgram(_spec, paths) {
      for (const path of paths) if (await isExecutable(path)) return path;
      return undefined;
    },
    async keepShell(spec, shell, options = {}) {
      check(spec, shell, options);
      return await startKeptShell(shell, launcher);
    },
    [Symbol.asyncDispose]: () => launcher[Symbol.asyncDispose](),
  };
}

function check(
  spec: IsolationSpec,
  command: Omit<Command, "line"> & Partial<Command>,
  options: AbortOptions,
): void {
  if (spec.kind !== "native") {
    throw new OpenboxError("isolation_unavailable", `${spec.kind} is not native`);
  }
  requireRunnable(command, options);
  requireConfinable("native", command.confinement);
}
