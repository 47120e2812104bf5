/**
 * Commands as another user of the machine, on Linux as root. Whatever starts as root on the way there has
 * nothing of the caller's: neither its environment nor its directory, since LD_PRELOAD or a directory
 * that only root may enter would be more than the account has.
 */
import { text } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import { quoteWord } from "../../shell_word.ts";
import type { Account, Command } from "../backend.ts";

export interface Start {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
}

/** Where a caller's variable stands until its account is there. Names of ours are no caller's to set. */
const carrier = (index: number): string => `OPENBOX_CARRIED_${index}`;

/** Of the programs that are used as root. */
const ROOT_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin; ";

/**
 * Real groups, as a login has them, and nothing of root's: capabilities go with the uid, and the bounding
 * set stays, so that sudo works as by ssh.
 */
const become = ({ uid, gid }: Account): string[] => [
  ...["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--init-groups", "--inh-caps=-all", "--"],
];

/**
 * The same process from the first shell to the last program. The first one runs `before`, a shell's
 * builtins alone, and gives its streams to the account, so that `>/dev/stderr` opens them again.
 */
export function startAs(account: Account, { argv, env, cwd }: Start, before: string): Start {
  const names = Object.keys(env);
  const asRoot = `${before}${ROOT_PATH}${giveStreams(account)}; exec "$@"`;
  const asAccount = [
    `cd -P -- ${quoteWord(cwd ?? "/")} || exit 126`,
    "unset OLDPWD SHLVL", // the shell's own doing
    // `command`, since a name that the shell keeps for itself would end it
    ...names.map((name, i) => `command export ${name}="$${carrier(i)}" 2>/dev/null`),
    ...(names.length > 0 ? [`unset ${names.map((_, i) => carrier(i)).join(" ")}`] : []),
    'exec "$@"',
  ].join("; ");
  return {
    argv: [
      ...["/bin/sh", "-c", asRoot, "sh"],
      ...become(account),
      ...["/bin/sh", "-c", asAccount, "sh"],
      ...argv,
    ],
    env: Object.fromEntries(Object.values(env).map((value, i) => [carrier(i), value])),
    cwd: "/",
  };
}

/**
 * Of the shell's three streams, those that are a pipe or a terminal of the command: never a device of the
 * machine, which another redirection would make of them.
 */
const giveStreams = ({ uid }: Account): string =>
  "own=; for fd in 0 1 2; do if [ -t $fd ] || [ -p /proc/$$/fd/$fd ]; " +
  `then own="$own /proc/$$/fd/$fd"; fi; done; [ -z "$own" ] || chown ${uid} $own`;

/**
 * Throws `bad_directory` where the account may not start there, and `unavailable` where this system cannot
 * make a process its.
 */
export async function requireDirectory(
  account: Account,
  { cwd = "/" }: Pick<Command, "cwd">,
): Promise<void> {
  const { success, code, stderr } = await new Deno.Command("/bin/sh", {
    args: [
      ...["-c", `${ROOT_PATH}exec "$@"`, "sh"],
      ...become(account),
      ...["/bin/sh", "-c", 'cd -P -- "$1"', "sh", cwd],
    ],
    clearEnv: true,
    cwd: "/",
    stdin: "null",
    stdout: "null",
  }).output();
  if (success) return;
  const said = text(stderr).trim().split("\n").at(-1)!;
  if (code === NOT_FOUND || said.startsWith("setpriv:")) {
    throw new OpenboxError("unavailable", `Cannot run commands as ${account.name}: ${said}`, {
      hint: "the node needs setpriv of util-linux, and an agent that may change its user",
    });
  }
  const why = await Deno.stat(cwd).then(
    ({ isDirectory }) => isDirectory ? "permission denied" : "it is not a directory",
    (error) => error instanceof Deno.errors.NotFound ? "there is no such directory" : `${error}`,
  );
  throw new OpenboxError("bad_directory", `Cannot start in ${cwd} as ${account.name}: ${why}`);
}

const NOT_FOUND = 127;

/** For the account to read or write it, in a directory that stays ours: it can put nothing in its place. */
export async function giveTo(account: Account | undefined, path: string): Promise<void> {
  if (account) await Deno.chown(path, account.uid, account.gid);
}

/** Others may go through the directory to what they know the name of; they see and change nothing. */
export async function openTo(account: Account | undefined, directory: string): Promise<void> {
  if (account) await Deno.chmod(directory, 0o711);
}
