/**
 * Ends what still runs when this process dies, in whatever way: one shell for all runs, fed by a pipe
 * whose end it sees. It knows a run by its process group and, where there is one, its cgroup.
 */
import { utf8 } from "../bytes.ts";
import { systemClock } from "../clock.ts";
import { log } from "../log.ts";

export interface Watchdog extends AsyncDisposable {
  /** From now on the group and its cgroup, one in `cgroups`, die with this process, until disposed. */
  guard(pgid: number, cgroup: string | undefined): Disposable;
}

export interface WatchdogOptions {
  /** Removed, with all that is in it, when this process dies. */
  readonly directory: string;
  /** The directory of the cgroups, removed as far as nothing lives in it. */
  readonly cgroups: string | undefined;
}

/** How late the shell may learn that a run has ended. */
const RELEASE_MS = 20;

/** How long the dying get between SIGTERM and SIGKILL, in seconds. */
const GRACE = "0.3";

/**
 * Only builtins until the end comes. `+PGID:CGROUP` and `-PGID:CGROUP` are its lines, the cgroup by its
 * name alone: a shell reads a line byte by byte. `kill -s X -- -PG` is what dash, bash, zsh and ksh read
 * alike; busybox wants it without `--`.
 */
const SCRIPT = `
trap '' HUP INT TERM QUIT PIPE
set -f
runs=' '
while IFS= read -r line; do
  case $line in
    +*) runs="$runs\${line#+} " ;;
    -*)
      run=" \${line#-} "
      case $runs in *"$run"*) runs="\${runs%%"$run"*} \${runs#*"$run"}" ;; esac
      ;;
  esac
done
send() { for run in $runs; do kill -s "$1" -- "-\${run%%:*}" || kill -s "$1" "-\${run%%:*}"; done; }
end_cgroup() {
  if [ -e "$1/cgroup.kill" ]; then echo 1 >"$1/cgroup.kill"; return; fi
  pass=0
  while [ $pass -lt 50 ] && read -r pid <"$1/cgroup.procs"; do
    while read -r pid; do kill -s KILL "$pid"; done <"$1/cgroup.procs"
    pass=$((pass + 1))
  done
}
case $runs in
  *[0-9]*)
    send TERM
    sleep ${GRACE}
    send KILL
    for run in $runs; do
      [ -z "\${run#*:}" ] || end_cgroup "$2/\${run#*:}"
    done
    ;;
esac
[ -n "$1" ] && rm -rf -- "$1"
set +f
[ -n "$2" ] && for try in 1 2 3 4 5; do
  [ -d "$2" ] || break
  rmdir "$2"/*/*/ "$2"/*/
  rmdir "$2" && break
  sleep 0.1
done
`;

export function startWatchdog({ directory, cgroups }: WatchdogOptions): Promise<Watchdog> {
  const guarded = new Set<string>();
  const stopped = new AbortController();
  let stdin: WritableStreamDefaultWriter<Uint8Array> | undefined;
  /** Ends of guards that the shell was not told yet. */
  let released = "", releasing: ReturnType<typeof setTimeout> | undefined;
  const tell = (lines: string) => {
    const told = released + lines;
    released = "";
    clearTimeout(releasing);
    releasing = undefined;
    // when the shell is gone another one is told about all that is guarded
    if (told !== "") stdin?.write(utf8(told)).catch(() => {});
  };

  const spawn = (): Deno.ChildProcess => {
    const shell = new Deno.Command("/bin/sh", {
      args: ["-c", SCRIPT, "openbox-watchdog", directory, cgroups ?? ""],
      cwd: "/",
      clearEnv: true,
      env: { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" },
      detached: true, // what ends the agent's group or terminal must not end it
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    stdin = shell.stdin.getWriter();
    for (const run of guarded) tell(`+${run}\n`);
    return shell;
  };

  async function keep(first: Deno.ChildProcess): Promise<void> {
    for (let shell = first;;) {
      await shell.status.catch(() => {}); // death by a realtime signal is a rejection in Deno
      await stdin?.abort().catch(() => {});
      if (stopped.signal.aborted) return;
      log("agent", "watchdog").warn("the watchdog was killed; starting another");
      await systemClock.sleep(100, { signal: stopped.signal }).catch(() => {});
      if (stopped.signal.aborted) return;
      shell = spawn();
    }
  }

  const kept = keep(spawn());
  return Promise.resolve({
    guard(pgid, cgroup) {
      const run = `${pgid}:${cgroup?.slice(cgroup.lastIndexOf("/") + 1) ?? ""}`;
      guarded.add(run);
      tell(`+${run}\n`);
      return {
        [Symbol.dispose]() {
          if (!guarded.delete(run)) return;
          // an end is in no hurry: it goes with the next beginning, which comes soon where it matters
          released += `-${run}\n`;
          releasing ??= setTimeout(() => tell(""), RELEASE_MS);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      if (stopped.signal.aborted) return await kept;
      stopped.abort();
      tell("");
      await stdin?.close().catch(() => {});
      await kept;
    },
  });
}
