/** A run on a terminal: whether there is one, and this end's part in it. */
import type { RemoteRun } from "../client/exec.ts";
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import { isTerm } from "../names.ts";
import type { ScreenSize, TerminalRequest } from "../ssh/screen.ts";
import type { RunFlagValues } from "./run_flags.ts";

/** What a terminal is taken for where nothing says more. */
const PLAIN = "dumb", UNKNOWN_SIZE: ScreenSize = { cols: 80, rows: 24 };

/**
 * With `--tty` there is one, and where no command is given: then the login's shell is what runs. Throws
 * `usage` where one is needed and cannot be.
 */
export function chooseTerminal(
  flags: RunFlagValues,
  hasCommand: boolean,
  host: Pick<Host, "env" | "stdin" | "stdout">,
): TerminalRequest | undefined {
  const asked = flags.has("tty"), never = flags.has("no-tty");
  if (asked && never) throw usage("--tty and -T exclude each other");
  if (never || (hasCommand && !asked)) return undefined;
  if (flags.has("json")) {
    throw usage(
      hasCommand ? "--json and --tty exclude each other" : "--json needs a command",
      "the lines of --json are for programs, a terminal is for people",
    );
  }
  for (const stream of ["stdin", "stdout"] as const) {
    if (asked || host[stream].isTerminal()) continue;
    throw usage(
      `There is no command, and ${stream} is no terminal for a shell`,
      "give a command; with -T the login's shell reads its commands from stdin",
    );
  }
  const term = host.env("TERM") ?? PLAIN;
  return { term: isTerm(term) ? term : PLAIN, ...host.stdout.size() ?? UNKNOWN_SIZE };
}

/**
 * Hands this terminal over to the one of the run, its size included, until disposed. Where stdin is none,
 * there is nothing to hand over.
 */
export async function connectTerminal(
  run: RemoteRun,
  size: ScreenSize,
  host: Host,
): Promise<Disposable> {
  using stack = new DisposableStack();
  let known = size;
  const follow = () => {
    const now = host.stdout.size();
    if (!now || (now.cols === known.cols && now.rows === known.rows)) return;
    known = now;
    run.resize(now);
  };
  stack.use(host.onSignal("SIGWINCH", follow));
  follow(); // it may have changed while we connected
  if (host.stdin.isTerminal()) stack.use(await host.stdin.passThrough());
  return stack.move();
}

const usage = (message: string, hint = "openbox help run") =>
  new OpenboxError("usage", message, { hint });
