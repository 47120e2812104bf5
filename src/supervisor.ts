/**
 * What the service manager that started this process wants to hear of it (sd_notify(3)): that it is
 * ready, that it lives, that it ends. Where none asked, nothing is said. launchd asks for nothing.
 */
import { type AbortOptions, deadline } from "./abort.ts";
import { utf8 } from "./bytes.ts";
import type { Clock } from "./clock.ts";
import type { Host } from "./host.ts";
import { log } from "./log.ts";

export interface Supervisor {
  /**
   * Tells that this process serves from now on and, twice in the time that the manager allows, that it lives
   * as long as `answers` resolves. Disposing it tells that it ends, and no more; it never throws.
   */
  ready(answers: (options: Required<AbortOptions>) => Promise<void>): Promise<AsyncDisposable>;
}

export interface SupervisorOptions {
  /**
   * Where this process may make a file, undefined where it may not: a socket is there for a moment, since
   * Deno gives one without a name only to a process with all permissions.
   */
  readonly directory: string | undefined;
}

/** Takes the manager's variables away, so that no command is taken for the service, before any is started. */
export function takeSupervisor(
  host: Pick<Host, "takeEnv" | "clock">,
  { directory }: SupervisorOptions,
): Supervisor {
  const address = host.takeEnv("NOTIFY_SOCKET");
  const watchdog = readWatchdog(host.takeEnv("WATCHDOG_USEC"), host.takeEnv("WATCHDOG_PID"));
  return {
    async ready(answers) {
      const notifier = address === undefined ? undefined : openNotifier(address, directory);
      await notifier?.send("READY=1");
      const ending = new AbortController();
      const beating = notifier && watchdog !== undefined
        ? beat({ notifier, everyMs: watchdog / 2, answers, clock: host.clock }, ending.signal)
        : undefined;
      return {
        async [Symbol.asyncDispose]() {
          if (ending.signal.aborted) return await beating;
          ending.abort();
          await beating;
          await notifier?.send("STOPPING=1");
          notifier?.close();
        },
      };
    },
  };
}

/** How long the manager waits for a sign of life, in milliseconds; undefined where it waits for none of ours. */
function readWatchdog(usec: string | undefined, pid: string | undefined): number | undefined {
  if (usec === undefined || !/^[1-9]\d{0,14}$/.test(usec)) return undefined;
  return pid === undefined || pid === String(Deno.pid) ? Number(usec) / 1000 : undefined;
}

interface Beat {
  readonly notifier: Notifier;
  readonly everyMs: number;
  readonly answers: (options: Required<AbortOptions>) => Promise<void>;
  readonly clock: Clock;
}

/** Until the next look at what did not answer. */
const AGAIN_MS = 1000;

async function beat({ notifier, everyMs, answers, clock }: Beat, signal: AbortSignal) {
  while (!signal.aborted) {
    // what takes a quarter of the manager's time is not alive; the rest is for a second look
    using limit = deadline(everyMs / 2, () => new Error("no answer in time"), { signal });
    let waitMs = everyMs;
    try {
      await answers({ signal: limit.signal });
      await notifier.send("WATCHDOG=1");
    } catch (error) {
      if (signal.aborted) return;
      log("supervisor").error("this service does not answer; unless it does, it is started anew", {
        error,
      });
      waitMs = Math.min(AGAIN_MS, everyMs / 4);
    }
    await clock.sleep(waitMs, { signal }).catch(() => {});
  }
}

interface Notifier {
  send(state: string): Promise<void>;
  close(): void;
}

function openNotifier(address: string, directory: string | undefined): Notifier | undefined {
  // `@` stands for the zero byte that begins a name without a file
  const path = address.startsWith("@") ? `\0${address.slice(1)}` : address;
  const complain = (error: unknown) =>
    log("supervisor").warn("the service manager at {address} cannot be told", { address, error });
  try {
    const socket = openSocket(directory);
    return {
      async send(state) {
        await socket.send(utf8(state), { transport: "unixpacket", path }).catch(complain);
      },
      close: () => socket.close(),
    };
  } catch (error) {
    complain(error);
    return undefined;
  }
}

function openSocket(directory: string | undefined): Deno.DatagramConn {
  const at = (path: string) => Deno.listenDatagram({ transport: "unixpacket", path });
  try {
    return at(""); // the system chooses a name that is no file
  } catch (error) {
    if (directory === undefined) throw error;
    const path = `${directory}/.notify-${crypto.randomUUID()}`;
    const socket = at(path);
    Deno.removeSync(path); // nobody is to answer
    return socket;
  }
}
