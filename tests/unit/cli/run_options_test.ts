import assert from "node:assert/strict";
import { readRunOptions } from "../../../src/cli/run_options.ts";
import { splitCommandLine } from "../../../src/cli/splitter.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { fakeHost, type FakeHostOptions } from "../../fakes/host.ts";

const ENV: Record<string, string> = { HERE: "a b" };

function read(...args: string[]) {
  return readOn({ env: ENV }, ...args);
}

function readOn(host: FakeHostOptions, ...args: string[]) {
  const line = splitCommandLine(args);
  assert(line.kind === "run");
  return readRunOptions(line.flags, line.words, fakeHost(host));
}

const refusal = (...args: string[]): OpenboxError => {
  try {
    read(...args);
  } catch (error) {
    assert(error instanceof OpenboxError);
    return error;
  }
  throw new assert.AssertionError({ message: `nothing refused ${args}` });
};

Deno.test("the flags become a target and a command; the isolation is always named", () => {
  assert.deepEqual(read("-t", "mac", "-C", "a b", "--timeout", "90s", "ls", "a b"), {
    target: { tag: "mac", node: undefined, session: undefined, isolation: { kind: "native" } },
    command: { line: "ls 'a b'", terminal: undefined, env: {}, cwd: "a b", timeoutMs: 90_000 },
  });
  assert.deepEqual(read("--docker", "alpine:3", "ls").target.isolation, {
    kind: "docker",
    image: "alpine:3",
  });
  assert.deepEqual(read("--nspawn", "/srv/x", "ls").target.isolation?.kind, "nspawn");
  assert.deepEqual(read("-n", "x", "--isolate", "native", "ls").target.isolation?.kind, "native");
});

Deno.test("RUN-18: -e takes a value, or the one that is set here", () => {
  const { env } = read("-t", "x", "-e", "A=1=2", "-e", "HERE", "-e", "B=", "ls").command;
  assert.deepEqual(env, { A: "1=2", HERE: "a b", B: "" });
});

Deno.test("RUN-18: names that may not be set, and ones that are not set here, are refused", () => {
  for (const entry of ["1A=x", "A B=x", "=x", "A-B=x", "OPENBOX_TOKEN=x", "OPENBOX_HOME", "é=x"]) {
    assert.equal(refusal("-t", "x", "-e", entry, "ls").code, "bad_environment", entry);
  }
  assert.match(refusal("-t", "x", "-e", "NOT_HERE", "ls").hint ?? "", /NOT_HERE=VALUE/);
});

Deno.test("an isolation that is malformed, or two of them, are refused", () => {
  for (const spec of ["docker", "docker:", "podman:x", "native ", "nspawn:rel", "DOCKER:x"]) {
    assert.equal(refusal("-t", "x", "--isolate", spec, "ls").code, "isolation_invalid", spec);
  }
  assert.equal(refusal("--docker", "-v/:/host", "ls").code, "isolation_invalid");
  const two = refusal("--docker", "alpine", "--nspawn", "/srv/x", "ls");
  assert.match(two.message, /--docker and --nspawn exclude each other/);
});

Deno.test("a session has the isolation that it was started in, unless one is named", () => {
  const { target } = read("-s", "build", "make");
  assert.deepEqual([target.session, target.isolation], ["build", undefined]);
  const named = read("-t", "x", "-s", "build", "--isolate", "native", "make").target;
  assert.deepEqual([named.session, named.isolation?.kind], ["build", "native"]);
});

Deno.test("RUN-20: -s without a command and -s with --tty are refused", () => {
  assert.match(refusal("-s", "a").message, /-s needs a command/);
  assert.match(refusal("-t", "x", "-s", "a", "--tty", "ls").message, /exclude each other/);
});

Deno.test("SES-13: a session's name has one form that no reader folds", () => {
  for (const name of ["a b", "a/b", "a:b", "\u00e9", "-x", "x".repeat(65), "a\n"]) {
    assert.equal(refusal(`--session=${name}`, "ls").code, "invalid_name", name);
  }
});

const ON_TERMINAL: FakeHostOptions = {
  env: { TERM: "xterm-256color" },
  stdinTerminal: true,
  stdoutTerminal: true,
  columns: 132,
};

Deno.test("RUN-20, RUN-21: no command on a terminal is the login's shell on a terminal", () => {
  const { line, terminal } = readOn(ON_TERMINAL, "-t", "x").command;
  assert.equal(line, undefined);
  assert.deepEqual(terminal, { term: "xterm-256color", cols: 132, rows: 24 });
});

Deno.test("RUN-20: a command has a terminal with --tty alone, wherever it is called from", () => {
  assert.equal(readOn(ON_TERMINAL, "-t", "x", "ls").command.terminal, undefined);
  assert.equal(readOn(ON_TERMINAL, "-t", "x", "--tty", "vim").command.terminal?.cols, 132);
  const { line, terminal } = read("-t", "x", "--tty", "ls").command;
  assert.equal(line, "ls");
  assert.deepEqual(terminal, { term: "dumb", cols: 80, rows: 24 });
});

Deno.test("RUN-20: -T never has one; without a command the shell reads stdin", () => {
  assert.equal(readOn(ON_TERMINAL, "-t", "x", "-T", "ls").command.terminal, undefined);
  const { line, terminal } = read("-t", "x", "-T").command;
  assert.deepEqual([line, terminal], [undefined, undefined]);
});

Deno.test("a name that is no kind of terminal is not passed on", () => {
  const env = { TERM: "../x" };
  assert.equal(readOn({ ...ON_TERMINAL, env }, "-t", "x").command.terminal?.term, "dumb");
});

Deno.test("RUN-20: where a terminal is needed and there is none, that is said", () => {
  const noStdin = refusal("-t", "x");
  assert.equal(noStdin.code, "usage");
  assert.match(noStdin.message, /no command, and stdin is no terminal/);
  const cases: [FakeHostOptions, string[], RegExp][] = [
    [{ stdinTerminal: true }, ["-t", "x"], /stdout is no terminal/],
    [ON_TERMINAL, ["-t", "x", "--json"], /--json needs a command/],
    [ON_TERMINAL, ["-t", "x", "--json", "--tty", "ls"], /--json and --tty exclude/],
    [ON_TERMINAL, ["-t", "x", "-T", "--tty", "ls"], /--tty and -T exclude/],
  ];
  for (const [host, args, message] of cases) {
    assert.throws(() => readOn(host, ...args), { code: "usage", message });
  }
});
