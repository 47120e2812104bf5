/** The first command starts a daemon for those after it: nobody has to know of it. */
import { homePaths } from "../home/paths.ts";
import { readSettings } from "../home/settings_file.ts";
import { type Host, isOn } from "../host.ts";
import { isOurSocket } from "../ipc/socket.ts";
import { mayUseDaemon } from "./hot_path.ts";
import type { Login } from "./login.ts";

/** What the daemon gets of this environment: where things are, and how the network is reached. */
const PASSED = [
  "HOME",
  "USER",
  "PATH",
  "TMPDIR",
  "LANG",
  "OPENBOX_HOME",
  "OPENBOX_DAEMON_SOCKET",
  "OPENBOX_CACHE",
  "DENO_DIR",
  "HTTPS_PROXY",
  "https_proxy",
  "NO_PROXY",
  "no_proxy",
] as const;

/**
 * Starts one, detached, unless the environment, a setting or CI says no. Does not wait for it: where two
 * start, one serves and the other ends. Throws `untrusted_socket` where somebody else's stands there.
 */
export async function spawnDaemon(login: Login, host: Host): Promise<void> {
  if (!login.stored || !mayUseDaemon((name) => host.env(name))) return;
  const { settings, daemonSocket, daemonLog } = homePaths(host);
  isOurSocket(daemonSocket);
  if (!host.program || isOn(host.env("CI"))) return;
  if ((await readSettings(settings)).daemon === "never") return;
  const env: Record<string, string> = {};
  for (const name of PASSED) {
    const value = host.env(name);
    if (value !== undefined) env[name] = value;
  }
  try {
    host.startDetached([host.program, "daemon", "--log-file", daemonLog], env);
  } catch {
    // out of processes, or not allowed: commands do without
  }
}
