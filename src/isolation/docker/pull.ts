/** Gets an image that the engine does not have. Whoever asks for the same one meanwhile waits for the same pull. */
import { abortable, abortReason } from "../../abort.ts";
import { OpenboxError } from "../../errors.ts";
import { readRegistryAuth } from "./auth.ts";
import type { DockerPlace } from "./endpoint.ts";
import { type Engine, type ProgressStream, translate } from "./engine.ts";
import { EngineRefusal } from "./hijack.ts";

export interface PullOptions {
  readonly signal: AbortSignal | undefined;
  /** Told how far it is, a line of text at a time. */
  readonly onProgress: ((text: string) => void) | undefined;
}

export interface Puller {
  /** Throws `image_unavailable`, or `docker_unavailable`. */
  pull(image: string, options: PullOptions): Promise<void>;
}

/** With not a word from the registry in between. */
export const STALL_MS = 60_000;
const TELL_MS = 500;

interface Pull {
  readonly done: Promise<void>;
  readonly watchers: Set<(text: string) => void>;
  waiting: number;
  readonly giveUp: AbortController;
}

export function createPuller(engine: Engine, place: DockerPlace, stallMs = STALL_MS): Puller {
  const going = new Map<string, Pull>();
  const begin = (image: string): Pull => {
    const watchers = new Set<(text: string) => void>(), giveUp = new AbortController();
    const tell = (text: string) => watchers.forEach((watcher) => watcher(text));
    const deps = { engine, place, stallMs, tell, signal: giveUp.signal };
    // whoever began it is there by then to be told of its first step
    const done = Promise.resolve().then(() => pullImage(image, deps))
      .finally(() => going.delete(image));
    done.catch(() => {}); // told to those who wait
    const pull = { done, watchers, waiting: 0, giveUp };
    going.set(image, pull);
    return pull;
  };
  return {
    async pull(image, { signal, onProgress }) {
      const pull = going.get(image) ?? begin(image);
      if (onProgress) pull.watchers.add(onProgress);
      pull.waiting++;
      try {
        await abortable(pull.done, signal);
      } finally {
        if (onProgress) pull.watchers.delete(onProgress);
        if (--pull.waiting === 0) pull.giveUp.abort(new Error("nobody waits for the image"));
      }
    },
  };
}

interface PullDeps {
  readonly engine: Engine;
  readonly place: DockerPlace;
  readonly stallMs: number;
  tell(text: string): void;
  readonly signal: AbortSignal;
}

async function pullImage(
  image: string,
  { engine, place, stallMs, tell, signal }: PullDeps,
): Promise<void> {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(image)) {
    throw new OpenboxError("image_unavailable", `There is no image ${image} on the node`, {
      hint: "an id names no registry: name the image by its repository",
    });
  }
  tell(`pulling ${image}`);
  const auth = await readRegistryAuth(image, place);
  const stalled = () =>
    new OpenboxError(
      "image_unavailable",
      `The pull of ${image} was ended: no progress for ${stallMs / 1000} s`,
      { hint: "does the node reach the registry? docker pull there shows more" },
    );
  let asked: Promise<ProgressStream> | undefined;
  try {
    const stream = await engine.call(
      (docker) => asked = docker.createImage(auth, toQuery(image)),
      { ms: stallMs, late: stalled, signal },
    );
    asked = undefined;
    let timer: ReturnType<typeof setTimeout> | undefined, late = false;
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        late = true;
        stream.destroy();
      }, stallMs);
    };
    const giveUp = () => stream.destroy();
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      watch();
      await readProgress(stream, image, tell, watch);
    } catch (error) {
      throw late
        ? stalled()
        : signal.aborted
        ? abortReason(signal)
        : translate(error, engine.endpoint);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
    }
    if (late) throw stalled();
  } catch (error) {
    asked?.then((stream) => stream.destroy(), () => {}); // it came too late
    throw error instanceof EngineRefusal ? toldPull(image, error.reason) : error;
  }
}

/** The engine takes a digest as a tag. */
function toQuery(image: string): Record<string, string> {
  const [name, digest] = image.split("@");
  if (digest) return { fromImage: name!.replace(/:[^/:]*$/, ""), tag: digest };
  const [, repository, tag] = /^(.*?)(?::([^/:]+))?$/.exec(image)!;
  return { fromImage: repository!, tag: tag ?? "latest" };
}

interface Line {
  readonly status?: string;
  readonly id?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

const MAX_LINE = 64 * 1024;

async function readProgress(
  stream: AsyncIterable<Uint8Array>,
  image: string,
  tell: (text: string) => void,
  onSign: () => void,
): Promise<void> {
  const layers = new Map<string, { done: boolean; current: number; total: number }>();
  let rest = "", toldAt = 0, said = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    onSign();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!.slice(-MAX_LINE);
    for (const line of lines) {
      const { error, status = "", id, progressDetail } = readLine(line);
      if (error !== undefined) throw new EngineRefusal(500, error);
      if (id === undefined || /^Pulling from/.test(status)) continue;
      const { current = 0, total = 0 } = progressDetail ?? {};
      const before = layers.get(id) ?? { done: false, current: 0, total: 0 };
      const isDownload = status === "Downloading";
      layers.set(id, {
        done: /^(Pull complete|Already exists)/.test(status),
        current: isDownload ? current : before.current,
        total: isDownload ? total : before.total,
      });
    }
    if (layers.size === 0 || performance.now() - toldAt < TELL_MS) continue;
    const now = summarize(image, [...layers.values()]);
    if (now !== said) tell(said = now);
    toldAt = performance.now();
  }
}

function readLine(line: string): Line {
  try {
    return JSON.parse(line);
  } catch {
    return {};
  }
}

function summarize(
  image: string,
  layers: readonly { done: boolean; current: number; total: number }[],
): string {
  const done = layers.filter(({ done }) => done).length;
  const sum = (of: "current" | "total") => layers.reduce((all, layer) => all + layer[of], 0);
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  const bytes = sum("total") > 0 ? `, ${mb(sum("current"))} of ${mb(sum("total"))} MB` : "";
  return `pulling ${image}: ${done} of ${layers.length} layers${bytes}`;
}

function toldPull(image: string, why: string): OpenboxError {
  const denied = /denied|unauthorized|authentication required|no basic auth/i.test(why);
  const full = /no space left/i.test(why);
  return new OpenboxError(
    "image_unavailable",
    `Cannot get the image ${image}: ${why.replaceAll(/\s+/g, " ").trim()}`,
    {
      hint: denied
        ? "docker login on the node, as the agent's login, or check the image's name"
        : full
        ? "docker system prune on the node makes room"
        : "check the name, and that the node reaches the registry; docker load brings an image without one",
    },
  );
}
