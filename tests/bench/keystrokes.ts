/** How long a key takes to the program on the node and back to the screen, by whole clients on terminals of their own. */
import { text, utf8 } from "../../src/bytes.ts";
import type { IsolationBackend } from "../../src/isolation/backend.ts";
import { openNativeBackend } from "../../src/isolation/native/backend.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { quoteWord } from "../../src/shell_word.ts";
import type { Bench } from "./main.ts";
import { inTurn, median, ms, percentile, type Row, times } from "./stats.ts";
import { OPENBOX } from "./world.ts";

const KEYS = 1000;
/** As an editor reads: each key at once, and it shows it itself. */
const PROGRAM = "stty raw -echo; echo ready; exec cat";

export async function keystrokes({ world, ssh }: Bench): Promise<Row[]> {
  await using backend = await openNativeBackend();
  const { cliEnv } = world;
  await using ours = await typeAt(backend, [OPENBOX, "-t", "bench", "--tty", PROGRAM], cliEnv);
  await using theirs = await typeAt(backend, ["ssh", "-tt", ...ssh.args, PROGRAM], cliEnv);
  const [a, b] = await inTurn(KEYS, () => ours.press(), () => theirs.press());
  const row = (what: string, share: number): Row => ({
    what,
    openbox: ms(percentile(a, share)),
    openssh: ms(percentile(b, share)),
    ratio: times(percentile(a, share) / percentile(b, share)),
  });
  return [
    {
      ...row("a key and its echo, p50", 0.5),
      bar: "≤ 1.5 ×",
      reached: median(a) <= 1.5 * median(b),
    },
    row("a key and its echo, p99", 0.99),
  ];
}

async function typeAt(
  backend: IsolationBackend,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ press(): Promise<void> } & AsyncDisposable> {
  const process = await backend.run(NATIVE, {
    line: utf8(`exec ${words.map(quoteWord).join(" ")}`),
    env: { ...env, TERM: "xterm" },
    cwd: "/",
    terminal: { cols: 80, rows: 24 },
  });
  const writer = process.stdin.getWriter(), reader = process.stdout.getReader();
  const read = async () => {
    const { value, done } = await reader.read();
    if (done) throw new Error(`${words[0]} ended: ${shown}`);
    return text(value);
  };
  let shown = "";
  while (!shown.includes("ready")) shown += await read();
  return {
    async press() {
      await writer.write(utf8("x"));
      while (!(await read()).includes("x"));
    },
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}
