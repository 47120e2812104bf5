/**
 * How each kind of shell is kept and fed. bash and zsh read lines as on a terminal, since then Ctrl-C
 * unwinds what runs and spares the shell; dash and busybox leave such a shell when a job dies, so they
 * run a loop that reads lines itself. A command is a file that is sourced: an open quote or here-doc
 * ends with the file, and nothing of a command is ever read from where the next one stands.
 */
import { text } from "../bytes.ts";
import { isExecutable } from "../isolation/executable.ts";
import { quoteWord } from "../shell_word.ts";

export interface Dialect {
  readonly kind: "bash" | "zsh" | "ash";
  readonly argv: readonly string[];
  /** What its exit code is after a command that Ctrl-C unwound. */
  readonly interruptCode: number;
  /** The first lines it is told. `token` begins each line with which it answers. */
  begin(token: string): string;
  /** Runs `base.c` on the named pipes at `base`, then answers `TOKEN number code`. */
  command(base: string, number: number, token: string): string;
  /** Only the answer. */
  answer(number: number, token: string): string;
}

/** The login's own shell where it is one that we know, else bash, else sh. */
export async function chooseDialect(loginShell: string, path: string): Promise<Dialect> {
  const own = byName(loginShell);
  if (own) return own;
  if (loginShell.endsWith("/sh")) return await askKind(loginShell);
  const bash = await findProgram("bash", path);
  return bash === undefined ? await askKind("/bin/sh") : createLineReader("bash", bash);
}

/** Where bash may be in an image or a tree. */
export const BASHES = ["/bin/bash", "/usr/bin/bash"] as const;

/**
 * For a shell inside of another file system: bash where `find` sees one there, else whatever `/bin/sh` is,
 * which every kind of shell can be fed as.
 */
export async function chooseDialectInside(
  find: (paths: readonly string[]) => Promise<string | undefined>,
): Promise<Dialect> {
  const bash = await find(BASHES);
  return bash === undefined ? createLoop(["/bin/sh"]) : createLineReader("bash", bash);
}

function byName(program: string): Dialect | undefined {
  switch (program.slice(program.lastIndexOf("/") + 1)) {
    case "bash":
      return createLineReader("bash", program);
    case "zsh":
      return createLineReader("zsh", program);
    case "dash":
    case "ash":
      return createLoop([program]);
    case "busybox":
      return createLoop([program, "sh"]);
    default:
      return undefined;
  }
}

/** `sh` is another shell's second name. */
async function askKind(program: string): Promise<Dialect> {
  const { stdout } = await new Deno.Command(program, {
    args: ["-c", 'echo "${BASH_VERSION:+bash}${ZSH_VERSION:+zsh}"'],
    stdin: "null",
    stderr: "null",
    clearEnv: true,
  }).output();
  const kind = text(stdout).trim();
  return kind === "bash" || kind === "zsh"
    ? createLineReader(kind, program)
    : createLoop([program]);
}

async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(":").filter((folder) => folder.startsWith("/"))) {
    if (await isExecutable(`${folder}/${name}`)) return `${folder}/${name}`;
  }
  return undefined;
}

/** No start-up files, no history, no prompts. */
const LINE_READERS = {
  bash: {
    args: ["--noprofile", "--norc", "--noediting", "-i"],
    begin: "PS1= PS2=; unset HISTFILE; set +o history +H",
  },
  zsh: {
    args: ["-f", "-i", "+Z", "-o", "no_prompt_sp", "-o", "no_prompt_cr", "-o", "no_bang_hist"],
    begin: "PS1= PS2= RPS1=; unset HISTFILE; HISTSIZE=0",
  },
} as const;

function createLineReader(kind: "bash" | "zsh", program: string): Dialect {
  const { args, begin } = LINE_READERS[kind];
  // the backslash and `builtin` pass by aliases and functions of the session
  const print = (number: number, token: string, code: string) =>
    `\\builtin printf '\\n%s %s %s\\n' ${token} ${number} "${code}"`;
  const source = (base: string) =>
    `\\builtin . ${quoteWord(`${base}.c`)} <${quoteWord(`${base}.0`)} ` +
    `>${quoteWord(`${base}.1`)} 2>${quoteWord(`${base}.2`)}`;
  const rest = { kind, argv: [program, ...args], interruptCode: 130, begin: () => `${begin}\n` };
  if (kind === "bash") {
    return {
      ...rest,
      command: (base, number, token) => `${source(base)}\n${print(number, token, "$?")}\n`,
      answer: (number, token) => `${print(number, token, "$?")}\n`,
    };
  }
  return {
    ...rest,
    // where Ctrl-C unwound a loop, zsh's own status is whatever the last builtin left
    command: (base, number, token) =>
      `{ ${source(base)} } always { ${
        print(number, token, "$(( TRY_BLOCK_INTERRUPT > 0 ? 130 : $? ))")
      } }\n`,
    answer: (number, token) => `${print(number, token, "130")}\n`,
  };
}

/** Read as a line, so that the token stands in no list of processes. */
const READ_LOOP = 'IFS= read -r __l && eval "$__l"';
/** An error within the trap is the exception of a plain sh: it unwinds a command that runs, up to `command`. */
const TRAP = `trap '[ -z "\${__r-}" ] || { : "\${__x?}"; } 2>/dev/null' INT`;
/**
 * The opening of stdin waits for its relay, and in busybox and older dash a job that dies then breaks it
 * off: `__o` says that it was open. It is the first, and the others do not wait, so once more is harmless.
 * `__r` is set only where `command` catches the exception of the trap.
 */
const SOURCE = `__o=; __s=; while [ -z "\${__o-}" ]; do ` +
  `\\command eval '__o=1; __r=1; \\command . "$__f.c"; __s=$?; __r=' ` +
  `<"$__f.0" >"$__f.1" 2>"$__f.2"; __e=$?; done; __r=; __s=\${__s:-$__e}`;
const loop = (token: string) =>
  `unset __l; ${TRAP}; while IFS=' ' read -r __n __f; do __s=0; ` +
  `case $__f in ?*) ${SOURCE};; esac; ` +
  `\\command printf '\\n%s %s %s\\n' ${token} "$__n" "$__s"; done`;

const createLoop = (program: readonly string[]): Dialect => ({
  kind: "ash",
  argv: [...program, "-c", READ_LOOP, "sh"],
  interruptCode: 2,
  begin: (token) => `${loop(token)}\n`,
  command: (base, number) => `${number} ${base}\n`,
  answer: (number) => `${number}\n`,
});
