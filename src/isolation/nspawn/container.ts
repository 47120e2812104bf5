/**
 * One systemd-nspawn with a shell of ours in it, which starts the payload and writes down how it ended:
 * nspawn's own exit code tells neither a signal nor every code. Started without a bus and registered
 * nowhere. What it mounts is in a mount namespace of its own, so that nothing of it outlives its processes.
 */
import { constants } from "node:os";
import { type AbortOptions, deadline } from "../../abort.ts";
import { text, utf8 } from "../../bytes.ts";
import { systemClock } from "../../clock.ts";
import { OpenboxError } from "../../errors.ts";
import { quoteWord } from "../../shell_word.ts";
import type { Command, Confinement, Exit, Mount } from "../backend.ts";
import { type Cgroup, createCgroup, joining } from "../cgroup.ts";
import { unsettable } from "../command_check.ts";
import type { Launcher } from "../launcher.ts";
import { exitOf } from "../native/process.ts";
import { startLeader } from "../native/shell.ts";
import { GOES_FIRST } from "../oom.ts";
import type { Pty } from "../pty.ts";
import { asShortArgument, shellArgv } from "../shell_line.ts";

/** What its first shell starts. */
export type Payload =
  | { readonly line: Uint8Array }
  | { readonly argv: readonly string[] };

export interface ContainerStart extends Omit<Command, "line"> {
  readonly root: string;
  /** Empty, and seen at the same path from within, where it cannot be changed. */
  readonly directory: string;
  readonly payload: Payload;
}

export interface Container {
  readonly child: Deno.ChildProcess;
  readonly cgroup: Cgroup | undefined;
  /** Where a terminal was asked for; then the child has no pipes. */
  readonly pty: Pty | undefined;
  /** How the payload ended. Settles when nothing of the container is left. */
  readonly exit: Promise<Exit>;
  /**
   * Resolves when the payload is there. Where nspawn does not come up it throws what that said, which
   * `said` reads of its pipes where it has them; then nothing is left.
   */
  started(said: () => Promise<string>, options: AbortOptions): Promise<void>;
}

/** For the first shell to run: nspawn takes a tenth of a second. */
const START_MS = 30_000, POLL_MS = 3;

export async function spawnContainer(
  start: ContainerStart,
  launcher: Launcher,
): Promise<Container> {
  await using stack = new AsyncDisposableStack();
  const payload = await writeFiles(start);
  const pty = start.terminal && stack.use((await launcher.ptys()).open(start.terminal));
  const cgroup = createCgroup(launcher.cgroups, besidesOurs(start.confinement));
  if (cgroup) stack.defer(() => cgroup.release());
  const messages = `${start.directory}/${MESSAGES}`;
  const script = (pty ? `exec 2>${messages}; ` : "") + GOES_FIRST + joining(cgroup) + START;
  const argv = nspawnArgv(start, pty, payload);
  const child = startLeader("a container", ["/bin/sh", "-c", script, "openbox-nspawn", ...argv], {
    env: NSPAWN_ENV,
    cwd: "/",
  }, { setsid: launcher.setsid, streams: pty ? "null" : "piped" });
  stack.move();
  const status = `${start.directory}/${STATUS}`, ended = exitOf(child);
  return {
    child,
    cgroup,
    pty,
    exit: ended.then((exit) => readEnd(status, exit)),
    started(said, options) {
      const messagesSaid = () => readTail(messages).catch(() => "");
      return untilStarted({ status, ended, said: pty ? messagesSaid : said }, start, options);
    },
  };
}

/** nspawn, its PID 1 and our first shell. */
const OUR_PROCESSES = 3;

const besidesOurs = ({ pids, ...rest }: Confinement = {}): Confinement =>
  pids === undefined ? rest : { ...rest, pids: pids + OUR_PROCESSES };

/** Of nspawn itself. Nothing of it reaches the container. */
const NSPAWN_ENV = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LANG: "C",
  SYSTEMD_LOG_LEVEL: "err",
  SYSTEMD_LOG_COLOR: "0",
  SYSTEMD_LOG_TARGET: "console",
};

/** nspawn complains at its end where this is not on a tmpfs, on the command's stderr. */
const PROPAGATE = "/run/systemd/nspawn/propagate";
const MOUNT =
  `mkdir -p ${PROPAGATE} && mount -t tmpfs -o mode=755 openbox ${PROPAGATE} && exec "$@"`;
const START = `exec unshare -m /bin/sh -c '${MOUNT}' openbox-nspawn "$@"`;

/** Files of a container. */
const BEGIN = "begin", STATUS = "status", LINE = "line", MESSAGES = "messages";
/** Where a terminal is in the container: nspawn leaves the name free, and programs ask for a name. */
const TERMINAL = "/dev/console";

function nspawnArgv(
  { root, directory, cwd, confinement = {} }: ContainerStart,
  pty: Pty | undefined,
  payload: readonly string[],
): string[] {
  const { net, mounts = [], volatile } = confinement;
  return [
    "systemd-nspawn",
    ...["--quiet", "--register=no", "--keep-unit", "--as-pid2"],
    "--console=pipe", // its own way with terminals loses output at the end
    // by themselves these write into the tree
    ...["--resolv-conf=bind-host", "--timezone=off", "--link-journal=no"],
    "--drop-capability=CAP_MKNOD", // by a device node all of the machine's disk can be read
    ...(net === "none" ? ["--private-network"] : []),
    ...(volatile ? ["--volatile=overlay"] : []),
    ...(cwd === undefined ? [] : [`--chdir=${cwd.startsWith("/") ? cwd : `/${cwd}`}`]),
    ...mounts.map(bind),
    `--bind-ro=${directory}`,
    `--bind=${directory}/${STATUS}`,
    ...(pty ? [`--bind=${pty.path}:${TERMINAL}`] : []),
    `--machine=${directory.slice(directory.lastIndexOf("/") + 1)}`,
    `--directory=${root}`,
    "--",
    "/bin/sh",
    `${directory}/${BEGIN}`,
    ...payload,
  ];
}

const bind = ({ source, target, readOnly }: Mount): string =>
  `--bind${readOnly ? "-ro" : ""}=${escapeColons(source)}:${escapeColons(target)}`;

const escapeColons = (path: string): string => path.replace(/[\\:]/g, "\\$&");

/** What nspawn sets by itself, and no command asked for. */
const SET_BY_NSPAWN = "PATH TERM HOME USER LOGNAME LANG NOTIFY_SOCKET container container_uuid " +
  "container_host_id container_host_version_id container_host_variant_id container_host_build_id " +
  "LISTEN_FDS LISTEN_PID";

/** Returns the arguments of the first shell. */
async function writeFiles(
  { payload, ...place }: ContainerStart,
): Promise<readonly string[]> {
  const { directory } = place;
  const write = (name: string, content: Uint8Array) =>
    Deno.writeFile(`${directory}/${name}`, content, { createNew: true, mode: 0o600 });
  await write(STATUS, utf8(""));
  await write(BEGIN, utf8(beginScript(place)));
  if ("argv" in payload) return payload.argv;
  const { line } = payload;
  const short = asShortArgument(line);
  if (short !== undefined) return shellArgv(short);
  await write(LINE, line);
  return shellArgv(`. ${quoteWord(`${directory}/${LINE}`)}`);
}

/**
 * What a shell says of its child is written down as well: it says something of those that a signal ended,
 * but for INT and PIPE. Signals are caught, so that the payload has their default and this shell lives on.
 * The payload's streams are set in its own process, or some shells would speak there; and it is that
 * process which says that it is there, so that from then on signals reach it. `command`, since without
 * it a variable that a shell keeps for itself would end it.
 */
function beginScript(
  { directory, env, terminal }: Pick<ContainerStart, "directory" | "env" | "terminal">,
): string {
  const unset = SET_BY_NSPAWN.split(" ").filter((name) => !Object.hasOwn(env, name));
  const exports = Object.entries(env).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw unsettable(name);
    return `command export ${name}=${quoteWord(value)} 2>/dev/null`;
  });
  return [
    // it leads a session, so that what it opens becomes the session's terminal
    ...(terminal ? [`exec 0<>${TERMINAL} 1>&0 2>&0`] : []),
    `exec 3>&2 2>>${directory}/${STATUS}`,
    "trap : HUP INT QUIT USR1 USR2 ALRM TERM",
    `unset ${unset.join(" ")}`,
    ...exports,
    '( printf "started\\n" >&2; exec "$@" 2>&3 3>&- )',
    'printf "\\n=%s\\n" $? >&2',
    "",
  ].join("\n");
}

interface Starting {
  readonly status: string;
  readonly ended: Promise<Exit>;
  said(): Promise<string>;
}

async function untilStarted(
  { status, ended, said }: Starting,
  { root, cwd }: ContainerStart,
  options: AbortOptions,
): Promise<void> {
  const late = () => new OpenboxError("unavailable", `systemd-nspawn did not start in ${root}`);
  using limit = deadline(START_MS, late, options);
  let gone = false;
  ended.then(() => gone = true);
  for (;;) {
    const wasGone = gone; // what it wrote before is there by now
    const written = await readTail(status);
    if (written.startsWith("started\n")) return;
    if (wasGone) throw toFailure(await said() || written, root, cwd);
    await systemClock.sleep(POLL_MS, limit);
  }
}

function toFailure(said: string, root: string, cwd: string | undefined): OpenboxError {
  const last = said.trim().split("\n").at(-1) || "it says nothing";
  const why = last.slice(0, 300);
  if (/working directory/.test(why)) {
    const reason = why.slice(why.lastIndexOf(": ") + 2);
    return new OpenboxError("bad_directory", `Cannot start in ${cwd} of ${root}: ${reason}`);
  }
  if (/currently busy/.test(why)) {
    return new OpenboxError("conflict", `${root} is in use by another container of this machine`, {
      hint: "on the node, pgrep -fa systemd-nspawn shows it",
    });
  }
  return new OpenboxError("isolation_unavailable", `Cannot start a container in ${root}: ${why}`);
}

const MAX_STATUS = 4096;

/** The payload may write there as well, about nothing but its own end. */
async function readEnd(path: string, exit: Exit): Promise<Exit> {
  const written = await readTail(path).catch(() => "");
  const [, said, digits] = /^started\n([^]*)\n=(\d{1,3})\n$/.exec(written) ?? [];
  if (digits === undefined) {
    // nothing but SIGKILL ends the first shell before it has written
    if (written !== "") {
      return { kind: "signal", signal: "KILL", number: constants.signals.SIGKILL };
    }
    return exit;
  }
  const code = Number(digits), number = code - 128;
  const bySignal = said !== "" || number === constants.signals.SIGINT ||
    number === constants.signals.SIGPIPE;
  if (number <= 0 || !bySignal) return { kind: "exit", code };
  return { kind: "signal", signal: signalName(number), number };
}

async function readTail(path: string): Promise<string> {
  using file = await Deno.open(path);
  const { size } = await file.stat();
  await file.seek(Math.max(0, size - MAX_STATUS), Deno.SeekMode.Start);
  const bytes = new Uint8Array(MAX_STATUS);
  const count = await file.read(bytes);
  return text(bytes.subarray(0, count ?? 0));
}

function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found ? found[0].slice("SIG".length) : `RT${number}`;
}
