/** What a daemon is started with. */
import { homePaths } from "../home/paths.ts";
import type { Host } from "../host.ts";

/** The flags of `openbox daemon`. */
export interface DaemonFlags {
  readonly socket?: string;
  readonly logFile?: string;
}

export interface DaemonSettings {
  /** Whose login it uses. */
  readonly home: string;
  readonly socketPath: string;
  /** Where the log goes instead of stderr. */
  readonly logFile: string | undefined;
  /** Ends after so long without a call, in milliseconds. */
  readonly idleMs: number;
  /** How long what runs may go on once it is told to end. */
  readonly drainMs: number;
}

const IDLE_MS = 30 * 60_000, DRAIN_MS = 5000;

export function readDaemonSettings({ socket, logFile }: DaemonFlags, host: Host): DaemonSettings {
  const env = (name: string) =>
    name === "OPENBOX_DAEMON_SOCKET" && socket ? socket : host.env(name);
  const { home, daemonSocket } = homePaths({ env, cwd: () => host.cwd() });
  return { home, socketPath: daemonSocket, logFile, idleMs: IDLE_MS, drainMs: DRAIN_MS };
}
