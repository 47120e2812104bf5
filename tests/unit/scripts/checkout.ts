/** A checkout in a temporary folder (its path has a space): the scripts, and a PATH of stand-ins. */
const ROOT = new URL("../../../", import.meta.url).pathname;

const FILES = [
  ...[".deno-version", "deno.lock", "tests/fixtures/components.txt"],
  ...["lib.sh", "environment.sh", "permissions.sh", "deno", "openbox", "test"].map((script) =>
    `scripts/${script}`
  ),
];

/** What every script needs of the system, as a PATH that holds nothing else. */
const TOOLS = [
  ...[
    "awk",
    "cat",
    "cksum",
    "dirname",
    "find",
    "getconf",
    "grep",
    "id",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "readlink",
  ],
  ...["rm", "sed", "sh", "sort", "tail", "tee", "tr"],
];

/**
 * A stand-in for Deno: it knows its version, and tells in NUL-ended words how it was called. With PRINTS
 * set its `test` prints that and ends with ENDS.
 */
export const FAKE_DENO = `#!/bin/sh
case $1\${PRINTS:+-told} in
-V*) echo "deno $(cat "$(dirname "$0")/../version")" ;;
eval*) printf '%s\\n' "$0" ;;
install*) mkdir -p "$DENO_DIR" ;;
test-told) printf "$PRINTS"; exit "$ENDS" ;;
*) printf '%s\\0' "$PWD" "$$" "$0" "$@" ;;
esac
`;

export interface Checkout extends AsyncDisposable {
  readonly path: string;
  readonly bin: string;
  /** Puts a program on the PATH of `run`. */
  program(name: string, script: string): Promise<void>;
  run(script: string, args?: readonly string[], options?: RunOptions): Promise<Ran>;
}
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The shell that reads the script, as words; by default what the script's first line says. */
  readonly shell?: readonly string[];
}
export interface Ran {
  readonly pid: number;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function createCheckout(): Promise<Checkout> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/check out`, bin = `${directory}/bin`;
  await Deno.mkdir(`${path}/scripts`, { recursive: true });
  await Deno.mkdir(`${path}/tests/fixtures`, { recursive: true });
  await Deno.mkdir(bin);
  for (const file of FILES) {
    await Deno.copyFile(ROOT + file, `${path}/${file}`);
  }
  await Deno.copyFile(`${ROOT}.deno-version`, `${directory}/version`);
  for (const tool of TOOLS) {
    const found = ["/usr/bin", "/bin"].map((folder) => `${folder}/${tool}`).find(exists);
    if (found) await Deno.symlink(found, `${bin}/${tool}`);
  }
  return {
    path,
    bin,
    async program(name, script) {
      await Deno.writeTextFile(`${bin}/${name}`, script, { mode: 0o755 });
    },
    async run(script, args = [], { cwd, env = {}, shell = [] } = {}) {
      const [command, ...words] = [...shell, script.startsWith("/") ? script : `${path}/${script}`];
      const child = new Deno.Command(command!, {
        args: [...words, ...args],
        cwd: cwd ?? directory,
        clearEnv: true,
        env: { PATH: bin, HOME: directory, ...env },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const { code, stdout, stderr } = await child.output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { pid: child.pid, code, stdout: text(stdout), stderr: text(stderr) };
    },
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
