/**
 * Commands in containers of a docker engine: each run in one of its own, which ends with it. The engine
 * may be on another machine or in a VM, so nothing here takes its files or processes for ours.
 */
import { type AbortOptions, deadline } from "../../abort.ts";
import { OpenboxError } from "../../errors.ts";
import { log } from "../../log.ts";
import type { Command, IsolationBackend, RunOptions } from "../backend.ts";
import { requireRunnable } from "../command_check.ts";
import { requireConfinable } from "../confinement.ts";
import { startContainer } from "./container.ts";
import { type DockerPlace, findDockerEndpoint } from "./endpoint.ts";
import { ANSWER_MS, type Engine, type ImageFacts, openEngine, toldRefusal } from "./engine.ts";
import { findInImage } from "./find.ts";
import { EngineRefusal } from "./hijack.ts";
import { startKeptInContainer } from "./kept.ts";
import { startInContainer } from "./process.ts";
import { createPuller, type Puller } from "./pull.ts";
import { labelsOf, type Ownership, reapContainers } from "./reap.ts";
import type { IsolationSpec } from "../spec.ts";

/** Disposing it ends what still goes on. */
export type DockerBackend = IsolationBackend & AsyncDisposable;

export interface DockerOptions extends DockerPlace, Ownership {
  /** For how long a pull may make no progress; a minute by itself. */
  readonly pullStallMs?: number;
}

/** Asks no engine: that happens with the first command, but for what an agent before this one left. */
export function openDockerBackend(options: DockerOptions): DockerBackend {
  const running = new Set<AsyncDisposable>(), closing = new AbortController();
  let opened: Promise<Connected> | undefined, isReaped = false;

  async function reap(): Promise<void> {
    if (isReaped) return;
    using limit = deadline(ANSWER_MS, () => new Error("docker does not answer"), closing);
    const count = await reapContainers(await findDockerEndpoint(options), options, limit.signal);
    isReaped = true;
    if (count > 0) log("agent", "docker").info("removed containers of an agent before", { count });
  }
  const reaping = reap().catch(() => {}); // no engine, or not yet: again with the first command

  /** Found anew after a call that found none, or none that answers: another may have taken its place. */
  function connect(): Promise<Connected> {
    opened ??= openEngine(options).then((engine) => ({
      engine,
      puller: createPuller(engine, options, options.pullStallMs),
    }));
    opened.catch(() => opened = undefined);
    return opened;
  }

  async function look(image: string, looking: RunOptions): Promise<ImageFacts> {
    const { engine, puller } = await connect();
    try {
      return await findImage(image, engine, puller, looking);
    } catch (error) {
      if (error instanceof OpenboxError && error.code === "docker_unavailable") opened = undefined;
      throw error;
    }
  }

  async function prepare(
    spec: IsolationSpec,
    command: Omit<Command, "line"> & Partial<Command>,
    { signal, onProgress }: RunOptions,
  ) {
    const ended = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal;
    const image = check(spec, command, { signal: ended });
    const { engine } = await connect();
    await reap().catch(() => {}); // the call itself says what is wrong
    const facts = await look(image, { signal: ended, onProgress });
    const { confinement = {}, account, cwd } = command;
    const directory = cwd === undefined ? undefined : resolve(cwd, facts.Config?.WorkingDir || "/");
    const container = await startContainer(engine, {
      image: facts,
      labels: labelsOf(options),
      confinement,
      user: account && `${account.uid}:${account.gid}`,
      cwd: directory,
      running,
      signal: ended,
    });
    return { container, engine, cwd: directory };
  }

  return {
    kind: "docker",
    async run(spec, command, options = {}) {
      const { container, engine, cwd } = await prepare(spec, command, options);
      return await startInContainer(container, { ...command, cwd }, engine);
    },
    async findProgram(spec, paths, { signal, onProgress } = {}) {
      const image = check(spec, { env: {} }, { signal });
      const { engine } = await connect();
      const facts = await look(image, { signal, onProgress });
      return await findInImage(engine, facts, paths, labelsOf(options));
    },
    async keepShell(spec, shell, options = {}) {
      const { container, cwd } = await prepare(spec, shell, options);
      return await startKeptInContainer(container, { ...shell, cwd });
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new OpenboxError("unavailable", "The agent ends"));
      await reaping;
      await Promise.all([...running].map((one) => one[Symbol.asyncDispose]()));
    },
  };
}

interface Connected {
  readonly engine: Engine;
  readonly puller: Puller;
}

/** The image, of a command that can be. */
function check(
  spec: IsolationSpec,
  command: Pick<Command, "env"> & Partial<Command>,
  options: AbortOptions,
): string {
  if (spec.kind !== "docker") {
    throw new OpenboxError("isolation_unavailable", `${spec.kind} is not docker`);
  }
  requireConfinable(spec.kind, command.confinement);
  requireRunnable(command, options);
  return spec.image;
}

/** Pulled where the engine has none. */
async function findImage(
  image: string,
  engine: Engine,
  puller: Puller,
  { signal, onProgress }: RunOptions,
): Promise<ImageFacts> {
  const inspect = async () => {
    try {
      return await engine.call((docker) => docker.getImage(image).inspect(), { signal });
    } catch (error) {
      if (error instanceof EngineRefusal && error.statusCode === 404) return undefined;
      throw toldRefusal(error, `look up the image ${image}`);
    }
  };
  const found = await inspect();
  if (found) return found;
  await puller.pull(image, { signal, onProgress });
  const pulled = await inspect();
  if (pulled) return pulled;
  throw new OpenboxError("image_unavailable", `Docker pulled ${image}, and does not have it`);
}

/** As a shell in `from` takes it. */
const resolve = (path: string, from: string): string =>
  path.startsWith("/") ? path : `${from.replace(/\/$/, "")}/${path}`;
