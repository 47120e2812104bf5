/** A socket that a service manager listens on already and hands over (sd_listen_fds(3)). */
import { createServer } from "node:net";
import type { Host } from "../host.ts";
import { fromNode, type LocalConn, type LocalListener } from "./local_conn.ts";

const FIRST_FD = 3;

/** Whether the environment hands exactly one socket to this process. */
export function isInherited({ takeEnv }: Pick<Host, "takeEnv">, pid: number): boolean {
  const forPid = takeEnv("LISTEN_PID"), count = takeEnv("LISTEN_FDS");
  takeEnv("LISTEN_FDNAMES");
  return forPid === String(pid) && count === "1";
}

export async function listenInherited(): Promise<LocalListener> {
  const waiting: LocalConn[] = [];
  let wake: (() => void) | undefined, closed = false;
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    waiting.push(fromNode(socket));
    wake?.();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd: FIRST_FD }, () => resolve());
  });
  const close = () => {
    if (closed) return;
    closed = true;
    server.close();
    wake?.();
  };
  return {
    async accept() {
      while (waiting.length === 0 && !closed) {
        await new Promise<void>((resolve) => wake = resolve);
      }
      return waiting.shift() ?? null;
    },
    close,
    [Symbol.asyncDispose]() {
      close();
      return Promise.resolve();
    },
  };
}
