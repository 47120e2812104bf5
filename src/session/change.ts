/** `-C` and `-e` in a session: what is typed before the command, and stays. */
import { text } from "../bytes.ts";
import { type Code, OpenboxError } from "../errors.ts";
import type { Process } from "../isolation/backend.ts";
import { quoteWord } from "../shell_word.ts";

export interface Change {
  readonly line: string;
  readonly cwd: string | undefined;
}

/** Undefined where there is none. The names are checked: they are no words of the shell. */
export function changeTo(
  env: Readonly<Record<string, string>>,
  cwd: string | undefined,
): Change | undefined {
  const steps = Object.entries(env).map(([name, value]) => `export ${name}=${quoteWord(value)}`);
  if (cwd !== undefined) steps.push(`cd -- ${quoteWord(cwd)}`);
  return steps.length === 0 ? undefined : { line: steps.join(" && "), cwd };
}

const MAX_SAID = 4096;

/** Throws, with the shell's own words, where it failed: the command is not to run then. */
export async function readChange(process: Process, { cwd }: Change): Promise<void> {
  await using _process = process;
  await process.stdin.close().catch(() => {});
  let said = "";
  const [exit] = await Promise.all([
    process.exit,
    (async () => {
      for await (const _ of process.stdout); // `cd -` prints where it went
    })(),
    (async () => {
      for await (const chunk of process.stderr) said = (said + text(chunk)).slice(0, MAX_SAID);
    })(),
  ]);
  if (exit.kind === "exit" && exit.code === 0) return;
  const code: Code = cwd === undefined ? "bad_environment" : "bad_directory";
  const what = cwd === undefined ? "Cannot set the variables" : `Cannot go to ${cwd}`;
  const why = said.trim().split("\n").at(-1)?.replace(/^.*?\.c: (line \d+: )?/, "");
  throw new OpenboxError(code, `${what} in the session${why ? `: ${why}` : ""}`);
}
