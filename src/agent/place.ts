/** In what a command starts, by its isolation: environment, directory and shell (docs/protocol.md). */
import { utf8 } from "../bytes.ts";
import type { Account, IsolationBackend, RunOptions } from "../isolation/backend.ts";
import type { IsolationSpec } from "../isolation/spec.ts";
import { BASHES, chooseDialect, chooseDialectInside, type Dialect } from "../session/dialect.ts";
import { quoteWord } from "../shell_word.ts";
import { loginEnvironment, STANDARD_PATH } from "./login.ts";
import type { FoundLogin } from "./logins.ts";

export interface Place {
  /** Before what its caller adds. */
  readonly env: Readonly<Record<string, string>>;
  /** Of this machine; undefined: the agent's own, or the image's. */
  readonly account: Account | undefined;
  /** Where a run starts that asks for this directory; undefined: where its image or tree has it. */
  cwd(asked: string | undefined): string | undefined;
  /** The line of a run that has none: a login shell. */
  shellLine(): Promise<Uint8Array>;
  /** The shell of a session. */
  dialect(): Promise<Dialect>;
}

/** On the machine itself, as this login. */
export function placeOnMachine({ login, path }: FoundLogin, nodeId: string): Place {
  return {
    account: login.account,
    env: loginEnvironment(login, { path, nodeId }),
    cwd: (asked) => asked?.startsWith("/") ? asked : asked ? `${login.home}/${asked}` : login.home,
    // on a terminal it is interactive by itself; without one it reads commands from its input
    shellLine: () => Promise.resolve(loginShell(login.shell)),
    dialect: () => chooseDialect(login.shell, path),
  };
}

/** In an image or a tree, which knows itself where commands start and has users of its own. */
export function placeInside(
  spec: IsolationSpec,
  backend: IsolationBackend,
  { lang, nodeId, options }: {
    readonly lang: string;
    readonly nodeId: string;
    readonly options?: RunOptions;
  },
): Place {
  const find = (paths: readonly string[]) => backend.findProgram(spec, paths, options);
  const node = { OPENBOX_NODE: nodeId };
  return {
    account: undefined,
    // an image sets its own, HOME and PATH among them
    env: spec.kind === "docker" ? node : { ...treeEnvironment(lang), ...node },
    cwd: (asked) => asked,
    async shellLine() {
      const bash = await find(BASHES);
      return bash === undefined ? utf8("exec /bin/sh") : loginShell(bash);
    },
    dialect: () => chooseDialectInside(find),
  };
}

const loginShell = (program: string): Uint8Array => utf8(`exec ${quoteWord(program)} -l`);

/** A tree's commands run as its root. */
const treeEnvironment = (lang: string): Record<string, string> => ({
  HOME: "/root",
  USER: "root",
  LOGNAME: "root",
  SHELL: "/bin/sh",
  PATH: STANDARD_PATH,
  LANG: lang,
});
