/** The flags of `run`, from text to what the call needs; everything wrong with them is said here. */
import { isEnvName } from "../api/run.ts";
import type { RunCommand } from "../client/exec.ts";
import type { Target } from "../client/target.ts";
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import { type IsolationSpec, NATIVE, parseIsolation } from "../isolation/spec.ts";
import { parseDuration } from "./duration.ts";
import { notYet } from "./later.ts";
import { chooseTerminal } from "./terminal.ts";
import type { RunFlagName, RunFlagValues } from "./run_flags.ts";
import { toShellLine } from "./words.ts";

export interface RunOptions {
  readonly target: Target;
  readonly command: RunCommand;
}

export function readRunOptions(
  flags: RunFlagValues,
  words: readonly string[],
  host: Pick<Host, "env" | "stdin" | "stdout">,
): RunOptions {
  const one = (name: RunFlagName) => flags.get(name)?.[0];
  if (flags.has("session")) throw notYet("-s (a session)");
  const hasCommand = words.length > 0, terminal = chooseTerminal(flags, hasCommand, host);
  const timeout = one("timeout");
  return {
    target: { tag: one("tag"), node: one("node"), isolation: readIsolation(flags) },
    command: {
      line: hasCommand ? toShellLine(words) : undefined,
      terminal,
      env: readEnv(flags.get("env") ?? [], host),
      cwd: one("cwd"),
      timeoutMs: timeout === undefined ? undefined : parseDuration(timeout, "--timeout"),
    },
  };
}

function readIsolation(flags: RunFlagValues): IsolationSpec {
  const given = (["docker", "nspawn", "isolate"] as const).flatMap((name) =>
    (flags.get(name) ?? []).map((value) => ({ name, value }))
  );
  const [first, second] = given;
  if (first && second) {
    throw new OpenboxError(
      "isolation_invalid",
      `--${first.name} and --${second.name} exclude each other`,
      {
        hint: "a command runs in one isolation",
      },
    );
  }
  if (!first) return NATIVE;
  return parseIsolation(first.name === "isolate" ? first.value : `${first.name}:${first.value}`);
}

function readEnv(given: readonly string[], host: Pick<Host, "env">): Record<string, string> {
  const env: Record<string, string> = {};
  for (const entry of given) {
    const equals = entry.indexOf("=");
    const name = equals < 0 ? entry : entry.slice(0, equals);
    if (!isEnvName(name)) {
      throw new OpenboxError("bad_environment", `-e ${JSON.stringify(name)} is no name to set`, {
        hint: "letters, digits and _, not beginning with a digit, and not OPENBOX_…",
      });
    }
    const value = equals < 0 ? host.env(name) : entry.slice(equals + 1);
    if (value === undefined) {
      throw new OpenboxError("bad_environment", `-e ${name}: it is not set here`, {
        hint: `-e ${name}=VALUE says what it shall be, -e ${name}= makes it empty`,
      });
    }
    env[name] = value;
  }
  return env;
}
