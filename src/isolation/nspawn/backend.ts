/**
 * Commands in a container that systemd-nspawn makes of a directory tree: root in there, with the machine's
 * network unless told otherwise, and what is written stays in the tree. No boundary against a command that
 * means harm: its root is the machine's.
 */
import type { AbortOptions } from "../../abort.ts";
import { text } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import type { Command, IsolationBackend, Process } from "../backend.ts";
import { type Cgroups, openCgroups } from "../cgroup.ts";
import { requireRunnable } from "../command_check.ts";
import { requireConfinable } from "../confinement.ts";
import { type Launcher, openLauncher } from "../launcher.ts";
import { ownProcess } from "../native/process.ts";
import { requireMachine, thisMachine } from "./machine.ts";
import { spawnContainer } from "./container.ts";
import { startContainerShell } from "./kept.ts";
import { ownContainer } from "./process.ts";
import { findInTree, requireTree } from "./tree.ts";
import type { IsolationSpec } from "../spec.ts";
import { TreeQueue } from "./tree_queue.ts";

/** Disposing it ends the commands that still go on. */
export type NspawnBackend = IsolationBackend & AsyncDisposable;

export interface NspawnOptions {
  /** Undefined where this machine has none. */
  findCgroups?(): Promise<Cgroups | undefined>;
}

/** Starts nothing before its first command. */
export function openNspawnBackend(
  { findCgroups = openCgroups }: NspawnOptions = {},
): NspawnBackend {
  const queue = new TreeQueue();
  let opened: Promise<Launcher> | undefined;
  // below /run, which is empty in a container: a path of ours there leaves nothing in the tree
  const launcher = () =>
    opened ??= openLauncher({ findCgroups, parent: "/run" }).catch((error) => {
      opened = undefined;
      throw error;
    });

  return {
    kind: "nspawn",
    async run(spec, { line, ...place }, options = {}) {
      const root = await check(spec, { line, ...place }, options);
      await using stack = new AsyncDisposableStack();
      const use = { shared: place.confinement?.volatile === true, long: false };
      const turn = stack.use(await queue.enter(root, use, options));
      const deps = await launcher();
      const directory = await makeDirectory(deps, stack);
      const container = await spawnContainer(
        { ...place, root, directory, payload: { line } },
        deps,
      );
      const nspawn = ownProcess({ ...container, file: undefined }, { ...deps, onEnd() {} });
      const process = stack.use(ownContainer(nspawn, container));
      await container.started(() => readMessage(nspawn), options);
      process.exit.finally(() => turn[Symbol.dispose]());
      const owned = stack.move();
      const one = { ...process, [Symbol.asyncDispose]: () => owned.disposeAsync() };
      deps.running.add(one);
      owned.defer(() => void deps.running.delete(one));
      return one;
    },
    async findProgram(spec, paths) {
      return await findInTree(await requireNspawn(spec), paths);
    },
    async keepShell(spec, shell, options = {}) {
      const root = await check(spec, shell, options);
      await using stack = new AsyncDisposableStack();
      const use = { shared: shell.confinement?.volatile === true, long: true };
      stack.use(await queue.enter(root, use, options));
      const deps = await launcher();
      const directory = await makeDirectory(deps, stack);
      return await startContainerShell(shell, { root, directory }, stack, deps, options);
    },
    async [Symbol.asyncDispose]() {
      await (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}

async function makeDirectory(
  { directory }: Launcher,
  owner: AsyncDisposableStack,
): Promise<string> {
  const made = await Deno.makeTempDir({ dir: directory, prefix: "nspawn-" });
  owner.defer(() => Deno.remove(made, { recursive: true }).catch(() => {}));
  return made;
}

/** Returns the tree. */
async function check(
  spec: IsolationSpec,
  command: Omit<Command, "line"> & Partial<Command>,
  options: AbortOptions,
): Promise<string> {
  const root = await requireNspawn(spec);
  requireRunnable(command, options);
  requireConfinable("nspawn", command.confinement);
  if (command.account) {
    throw new OpenboxError("limit_unsupported", "In a tree a command runs as its root");
  }
  for (const { source } of command.confinement?.mounts ?? []) {
    if (await Deno.stat(source).catch(() => undefined)) continue;
    throw new OpenboxError("mount_invalid", `The mount's source ${source} is missing`);
  }
  return root;
}

/** Returns the tree that the spec names. Throws where there can be no container, or none of this tree. */
async function requireNspawn(spec: IsolationSpec): Promise<string> {
  if (spec.kind !== "nspawn") {
    throw new OpenboxError("isolation_unavailable", `${spec.kind} is not nspawn`);
  }
  await requireMachine(thisMachine);
  await requireTree(spec.root);
  return spec.root;
}

const MAX_MESSAGE = 16 * 1024;

/** What nspawn said that did not come up. */
async function readMessage({ stdout, stderr }: Process): Promise<string> {
  let said = "";
  for (const stream of [stdout, stderr]) {
    for await (const chunk of stream) said = (said + text(chunk)).slice(-MAX_MESSAGE);
  }
  return said;
}
