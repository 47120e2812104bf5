/** The OS user that commands run as, and the environment in which each of them starts. */
import { userInfo } from "node:os";
import { abortable, deadline } from "../abort.ts";
import { text, utf8 } from "../bytes.ts";
import type { Host } from "../host.ts";
import { OpenboxError } from "../errors.ts";
import type { Account, IsolationBackend } from "../isolation/backend.ts";
import { NATIVE } from "../isolation/spec.ts";
import { log } from "../log.ts";
import { quoteWord } from "../shell_word.ts";

export interface Login {
  readonly name: string;
  /** Where commands start; `/` where the account's home is missing. */
  readonly home: string;
  readonly shell: string;
  readonly lang: string;
  /** Undefined: the agent's own. */
  readonly account?: Account;
}

/** The agent's own user, as the system knows it: its variables may say something else. */
export async function readLogin(host: Host): Promise<Login> {
  const { name, home, shell } = readAccount(host);
  return {
    name,
    home: await usableHome(home),
    shell,
    lang: host.env("LANG") ?? (Deno.build.os === "darwin" ? "en_US.UTF-8" : "C.UTF-8"),
  };
}

const usableHome = async (home: string): Promise<string> =>
  await Deno.stat(home).then((info) => info.isDirectory, () => false) ? home : "/";

/**
 * Another user of this machine, as the system knows it by now. Throws `login_not_allowed` where it knows
 * none of this name, and `not_supported` where openbox cannot run commands as one.
 */
export async function findLogin(name: string, { lang }: Pick<Login, "lang">): Promise<Login> {
  if (Deno.build.os !== "linux") {
    throw new OpenboxError("not_supported", `Cannot run commands as ${name}: on Linux alone`, {
      hint: "an agent of its own, started as that user, can",
    });
  }
  const [found, , uid, gid, , home, shell] = (await lookUp(name)).split(":");
  const account = { name, uid: Number(uid), gid: Number(gid) };
  if (found !== name || !Number.isInteger(account.uid) || !Number.isInteger(account.gid)) {
    throw new OpenboxError("login_not_allowed", `This node has no login ${name}`);
  }
  return { name, home: await usableHome(home || "/"), shell: shell || "/bin/sh", lang, account };
}

/** As many systems have their users elsewhere than in /etc/passwd. */
const LOOK_UP_MS = 10_000, NOT_FOUND = 2;

async function lookUp(name: string): Promise<string> {
  using limit = deadline(LOOK_UP_MS, () => new Error("too slow"));
  const { success, code, stdout } = await new Deno.Command("getent", {
    args: ["passwd", "--", name],
    stdin: "null",
    stderr: "null",
    signal: limit.signal,
  }).output().catch((cause) => {
    throw new OpenboxError("unavailable", `Cannot look up the login ${name}: ${cause.message}`, {
      hint: "the node needs getent",
      cause,
    });
  });
  if (success) return text(stdout).split("\n")[0]!;
  if (code === NOT_FOUND) {
    throw new OpenboxError("login_not_allowed", `This node has no login ${name}`);
  }
  throw new OpenboxError("unavailable", `Cannot look up the login ${name}`, {
    hint: `getent passwd ${name}, on the node, says more`,
  });
}

function readAccount(host: Host): { name: string; home: string; shell: string } {
  try {
    const { username, homedir, shell } = userInfo();
    return { name: username, home: homedir, shell: shell || "/bin/sh" };
  } catch {
    // a container may run as a number without an account
    return { name: String(Deno.uid()), home: host.env("HOME") ?? "/", shell: "/bin/sh" };
  }
}

/** What protocol.md says a command starts with, before what its caller adds. */
export const loginEnvironment = (
  login: Login,
  { path, nodeId }: { readonly path: string; readonly nodeId: string },
): Record<string, string> => ({
  HOME: login.home,
  USER: login.name,
  LOGNAME: login.name,
  SHELL: login.shell,
  PATH: path,
  LANG: login.lang,
  OPENBOX_NODE: nodeId,
});

/** The system's own, for where the login shell does not tell in time. */
export const STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** How long commands wait for the answer, and how long the shell may take over it. */
const ANSWER_MS = 5_000, SHELL_MS = 120_000;
const MAX_OUTPUT = 256 * 1024;

/**
 * PATH as the login's own login shell sets it, so that what a person installed is found. Asked once; never
 * rejects. A shell that is late goes on to its end: start-up files that are killed halfway leave locks
 * behind, and every later login waits for them (pyenv's does).
 */
export async function readLoginPath(login: Login, backend: IsolationBackend): Promise<string> {
  using late = deadline(ANSWER_MS, () => new Error(`no answer within ${ANSWER_MS / 1000} s`));
  try {
    const asked = askShell(login, backend);
    asked.catch(() => {}); // it may fail after nobody waits any more
    const path = await abortable(asked, late.signal);
    if (path !== undefined) return path;
  } catch (error) {
    log("agent").warn("the login shell did not tell its PATH: {error}", { error });
  }
  return STANDARD_PATH;
}

/** Ends with the shell, or with the backend that owns it. */
async function askShell(login: Login, backend: IsolationBackend): Promise<string | undefined> {
  // start-up files may print whatever they like: only what stands between two marks counts
  const mark = crypto.randomUUID();
  const ask = `printf '%s%s%s' ${mark} "$PATH" ${mark}`;
  const env = loginEnvironment(login, { path: STANDARD_PATH, nodeId: "" });
  delete env.OPENBOX_NODE;
  await using process = await backend.run(NATIVE, {
    line: utf8(`exec ${quoteWord(login.shell)} -l -c ${quoteWord(ask)} 2>/dev/null`),
    env,
    cwd: login.home,
    account: login.account,
  });
  using limit = deadline(SHELL_MS, () => new Error("the login shell does not end"));
  limit.signal.addEventListener("abort", () => void process.terminate(), { once: true });
  await process.stdin.close();
  let output = "";
  for await (const chunk of process.stdout) {
    output += text(chunk);
    if (output.length > MAX_OUTPUT) break;
  }
  const [, path] = output.split(mark);
  return path && !/[\0\n]/.test(path) ? path : undefined;
}
