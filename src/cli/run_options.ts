/** The flags of `run`, from text to what the call needs; everything wrong with them is said here. */
import type { RunCommand } from "../client/run_command.ts";
import type { Target } from "../client/target.ts";
import { OpenboxError } from "../errors.ts";
import type { Host } from "../host.ts";
import { type IsolationSpec, NATIVE, parseIsolation } from "../isolation/spec.ts";
import { isEnvName, isLogin, isSessionName } from "../names.ts";
import { parseDuration } from "./duration.ts";
import { readLimits } from "./run_limits.ts";
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
  const session = one("session");
  if (session !== undefined) checkSession(session, flags, words);
  const hasCommand = words.length > 0, terminal = chooseTerminal(flags, hasCommand, host);
  const timeout = one("timeout");
  // a session has what it was started in
  const isolation = readIsolation(flags) ?? (session === undefined ? NATIVE : undefined);
  return {
    target: {
      tag: one("tag"),
      node: one("node"),
      session,
      isolation,
      login: readLogin(one("user"), isolation),
    },
    command: {
      line: hasCommand ? toShellLine(words) : undefined,
      terminal,
      env: readEnv(flags.get("env") ?? [], host),
      cwd: one("cwd"),
      timeoutMs: timeout === undefined ? undefined : parseDuration(timeout, "--timeout"),
      limits: readLimits(flags, isolation?.kind),
    },
  };
}

function readLogin(
  login: string | undefined,
  isolation: IsolationSpec | undefined,
): string | undefined {
  if (login === undefined) return undefined;
  if (!isLogin(login)) {
    throw new OpenboxError("usage", `--user ${JSON.stringify(login)} is no name of a login`, {
      hint: "a name, not a number",
    });
  }
  if (isolation && isolation.kind !== "native") {
    throw new OpenboxError("limit_unsupported", `--user is for native commands`, {
      hint: "a container runs as the user of its image, a tree's command as its root",
    });
  }
  return login;
}

function checkSession(name: string, flags: RunFlagValues, words: readonly string[]): void {
  if (!isSessionName(name)) {
    throw new OpenboxError("invalid_name", `-s ${JSON.stringify(name)} is no name for a session`, {
      hint: "1 to 64 of A-Z a-z 0-9 . _ -, not beginning with -",
    });
  }
  if (flags.has("tty")) {
    throw new OpenboxError("usage", "--tty and -s exclude each other", {
      hint: "a session has no terminal; without -s there can be one",
    });
  }
  if (words.length === 0) {
    throw new OpenboxError("usage", "-s needs a command: a session is no terminal to type in", {
      hint: `openbox -s ${name} COMMAND…; openbox session end ${name} ends it`,
    });
  }
}

/** Undefined where none is named. */
function readIsolation(flags: RunFlagValues): IsolationSpec | undefined {
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
  if (!first) return undefined;
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
