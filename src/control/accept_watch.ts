/**
 * node:net stops accepting for ever once the process had no descriptor left, and tells nobody (Deno
 * 2.9.6). This notices, and listens anew. It costs nothing while few connections are open: only after
 * many were, and nobody came since, does it knock at its own door.
 */
import { connect, type Server } from "node:net";
import { log } from "../log.ts";

export interface AcceptWatchOptions {
  /** Listens again as at the start. The server was closed, its connections were not. */
  readonly listenAgain: () => void;
  readonly everyMs?: number;
}

const EVERY_MS = 2000;
/** Descriptors run out only by connections, and hardly before there are so many. */
const MANY = 32;

export function watchAccepting(
  server: Server,
  { listenAgain, everyMs = EVERY_MS }: AcceptWatchOptions,
): Disposable {
  let open = 0, accepted = 0, seen = 0, openAtLast = 0;
  let knocking = false, ended = false;
  server.on("connection", (socket) => {
    accepted++;
    openAtLast = ++open;
    socket.on("close", () => open--);
  });
  const timer = setInterval(() => {
    // at its limit it drops who comes, the knock too, without an event
    const full = open >= server.maxConnections;
    const quiet = accepted === seen && openAtLast >= MANY && !full;
    seen = accepted;
    if (quiet && !knocking) void look();
  }, everyMs);

  async function look(): Promise<void> {
    knocking = true;
    try {
      const before = accepted;
      // twice, since a process that was held up finds its timers due before who came meanwhile
      for (let times = 0; times < 2; times++) {
        // no descriptor left for the knock itself: then it is too early to listen anew, too
        if (!await knock(server, everyMs / 2) || accepted !== before) return;
      }
      if (ended) return;
      log("control").warn("no connection was accepted any more; listening anew");
      server.close();
      listenAgain();
    } finally {
      knocking = false;
    }
  }
  return {
    [Symbol.dispose]() {
      ended = true;
      clearInterval(timer);
    },
  };
}

/** Connects to the server and waits a while; false where no connection could be made. */
function knock(server: Server, ms: number): Promise<boolean> {
  const address = server.address();
  if (address === null || typeof address === "string") return Promise.resolve(false);
  const host = ["::", "0.0.0.0"].includes(address.address) ? "127.0.0.1" : address.address;
  return new Promise((resolve) => {
    const socket = connect({ host, port: address.port });
    const settle = (connected: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(connected);
    };
    const timer = setTimeout(() => settle(true), ms);
    socket.once("error", () => settle(false));
  });
}
