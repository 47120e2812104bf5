/** A shell that stays, in a container of its own that ends with it. Its named pipes are in there too. */
import { utf8 } from "../../bytes.ts";
import type { Exit, KeptShell, Shell } from "../backend.ts";
import { within } from "../within.ts";
import { type Container, type Execution, KILLED, SHARED } from "./container.ts";
import { toExit } from "./exit.ts";
import { readFrames } from "./frames.ts";
import { createMarkedOutput } from "./output.ts";
import { send } from "./process.ts";
import { openContainerRelay } from "./relay.ts";

/** For a shell to end by itself once its input has ended. */
const FAREWELL_MS = 200;
const POLL_MS = 5;

/** What the shell says on its own stderr is about its prompts and jobs, and meant for nobody. */
const START = `echo $$ >${SHARED}/pid; exec "$@" 2>/dev/null`;

/** Owns the container, also where it throws. */
export async function startKeptInContainer(
  container: Container,
  { argv, env, cwd }: Shell,
): Promise<KeptShell> {
  await using stack = new AsyncDisposableStack();
  stack.use(container);
  const execution = stack.use(
    await container.exec({
      argv: ["/bin/sh", "-c", START, "openbox", ...container.entrypoint, ...argv],
      env,
      cwd,
      tty: false,
    }),
  );
  const stdout = createMarkedOutput(undefined, () => {});
  const reading = readFrames(execution.wire, (bytes) => stdout.push(bytes), () => {});
  reading.finally(() => stdout.end());
  let exited = false;
  const exit: Promise<Exit> = stdout.ended
    .then(async () => toExit(await execution.exitCode().catch(() => KILLED)))
    .finally(() => exited = true);
  stack.defer(() => farewell(execution, () => exited));
  const owned = stack.move();
  const tree = new Tree(container);
  let count = 0, disposed: Promise<void> | undefined;
  async function dispose(): Promise<void> {
    stdout.drop(); // what is kept for a reader holds the stream
    await owned.disposeAsync();
    await reading;
    await stdout.stream.cancel().catch(() => {}); // somebody reads it, to its end
    await exit;
  }
  return {
    stdout: stdout.stream,
    exit,
    tell: (text) => execution.wire.write(utf8(text)).catch(() => {}),
    openRelay: () => openContainerRelay(container, ++count, tree.relays),
    processes: () => tree.processes(),
    interrupt: () => void tree.tellShell("INT", '"-$p"'),
    signal: (pids, signal) => tree.signal(pids, signal),
    kill: () => void tree.tellShell("KILL", '"$p"'),
    [Symbol.asyncDispose]: () => disposed ??= dispose(),
  };
}

async function farewell({ wire }: Execution, isOver: () => boolean): Promise<void> {
  await wire.closeWrite().catch(() => {}); // gone
  await within(FAREWELL_MS, isOver, POLL_MS);
}

/** Of each process its number, its parent's and its session's; an exec's parent is outside, 0. By builtins alone. */
const LIST = `IFS= read -r p <pid && echo "$p $$" && for d in /proc/[0-9]*; do ` +
  `{ IFS= read -r s <$d/stat; } 2>/dev/null && { set -- \${s##*) }; echo "\${d#/proc/} $2 $4"; }; done`;

/** The shell and all that it started; not what is ours in there. */
class Tree {
  /** The sessions of our relays, whose own parents may have ended. */
  readonly relays = new Set<number>();
  readonly #container: Container;
  constructor(container: Container) {
    this.#container = container;
  }
  async processes(): Promise<ReadonlySet<number>> {
    const [first, ...rest] = (await this.#container.ask(LIST))?.lines ?? [];
    const [shell, control] = (first ?? "").split(" ").map(Number);
    const found = new Map(rest.map((line) => {
      const [pid, parent, session] = line.split(" ").map(Number);
      return [pid!, { parent: parent!, session: session! }];
    }));
    const isOfShell = (pid: number): boolean => {
      if (pid === 1 || pid === shell || this.relays.has(found.get(pid)!.session)) return false;
      for (let at = pid; at !== shell; at = found.get(at)!.parent) {
        if (at === 1 || !found.has(at)) return true; // it was disowned, which ours never are
        if (at === control || found.get(at)!.parent === 0) return false;
      }
      return true;
    };
    return new Set([...found.keys()].filter(isOfShell));
  }
  signal(pids: Iterable<number>, signal: Deno.Signal): void {
    const all = [...pids];
    if (all.length === 0) return;
    void this.#container.ask(
      `kill -s ${signal.slice("SIG".length)} ${all.join(" ")} 2>/dev/null`,
    );
  }
  tellShell(signal: string, target: string): Promise<unknown> {
    return this.#container.ask(`IFS= read -r p <pid && ${send(signal, target)}`);
  }
}
