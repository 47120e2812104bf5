/** The commands of a soak: each a process as a person starts it, with an answer that can be told from a wrong one. */
import { text } from "../../src/bytes.ts";
import { OPENBOX, type World } from "../bench/world.ts";

export interface Load {
  /** Starts the next command; resolves with the milliseconds to its end, or with what was wrong with it. */
  next(): Promise<number | string>;
  /** What can be told only after all. */
  findFaults(): string[];
}

/** One that takes longer than this failed, whatever it says later. */
const LONGEST_MS = 30_000;

interface Shape {
  readonly args: readonly string[];
  readonly input?: Uint8Array<ArrayBuffer>;
  readonly code?: number;
  isRight(output: Uint8Array): boolean;
}

const isEmpty = (output: Uint8Array) => output.length === 0;
const ON_NODE = ["-t", "bench"];
const INPUT = crypto.getRandomValues(new Uint8Array(4096)), OUTPUT = 65_536;

export function createLoad(world: World): Load {
  let begun = 0;
  const counted: number[] = [];

  /** Six of ten do nothing; the others are what breaks where bytes, codes or a session get mixed up. */
  function shape(n: number): Shape {
    switch (n % 10) {
      case 1:
        return {
          args: [...ON_NODE, "cat"],
          input: INPUT,
          isRight: (output) =>
            output.length === INPUT.length && output.every((byte, i) => byte === INPUT[i]),
        };
      case 3:
        return {
          args: [...ON_NODE, `head -c ${OUTPUT} /dev/zero`],
          isRight: (output) => output.length === OUTPUT,
        };
      case 5:
        return { args: [...ON_NODE, `exit ${n % 200}`], code: n % 200, isRight: isEmpty };
      case 7:
        return {
          args: [...ON_NODE, "-s", "soak", "count=$((count + 1)); echo $count"],
          isRight: (output) => counted.push(Number(text(output))) > 0,
        };
      default:
        return { args: [...ON_NODE, "true"], isRight: isEmpty };
    }
  }

  return {
    async next() {
      const { args, input, code = 0, isRight } = shape(begun++);
      const startedAt = performance.now();
      const child = new Deno.Command(OPENBOX, {
        args: [...args],
        env: { ...world.cliEnv, OPENBOX_NO_DAEMON: "0" },
        clearEnv: true,
        stdin: input ? "piped" : "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const limit = setTimeout(() => child.kill("SIGKILL"), LONGEST_MS);
      if (input) await new Blob([input]).stream().pipeTo(child.stdin).catch(() => {});
      const ended = await child.output();
      clearTimeout(limit);
      if (ended.code === code && isRight(ended.stdout)) return performance.now() - startedAt;
      return `${args.join(" ")}: code ${ended.code}, ${ended.stdout.length} bytes, ${
        text(ended.stderr).trim()
      }`;
    },
    findFaults() {
      const sorted = counted.toSorted((a, b) => a - b);
      const wrong = sorted.findIndex((count, i) => count !== i + 1);
      return wrong < 0 ? [] : [`the session counted ${sorted[wrong]} where ${wrong + 1} was due`];
    },
  };
}
