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
    target: {
      tag: "mac",
      node: undefined,
      session: undefined,
      isolation: { kind: "native" },
      login: undefined,
    },
    command: {
      line: "ls 'a b'",
      terminal: undefined,
      env: {},
      cwd: "a b",
      timeoutMs: 90_000,
      limits: {},
    },
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

Deno.test("ISO-7, ISO-8: limits and mounts are read before anything is sent", () => {
  const docker = ["--docker", "debian", "--memory", "1.5g", "--cpus", "0.5", "--pids=100"];
  const more = ["--shm-size", "64m", "--gpus", "all", "--net", "none", "--mount", "/a"];
  assert.deepEqual(read(...docker, ...more, "--mount", "/b:/c:ro", "ls").command.limits, {
    limits: { memory_bytes: 1.5 * 2 ** 30, cpus: 0.5, pids: 100, shm_bytes: 64 * 2 ** 20 },
    mounts: ["/a", "/b:/c:ro"],
    gpus: "all",
    net: "none",
  });
  const tree = read("--nspawn", "/srv/x", "--volatile", "--net", "host", "ls").command.limits;
  assert.deepEqual(tree, { net: "host", volatile: true });
  assert.deepEqual(read("-s", "a", "--memory", "512m", "ls").command.limits, {
    limits: { memory_bytes: 512 * 2 ** 20 },
  });
});

Deno.test("ISO-7: a limit that is none, or that the isolation cannot hold, is refused here", () => {
  const cases: [string[], string, RegExp][] = [
    [["--memory", "lots"], "usage", /--memory "lots": not a size such as 512m/],
    [["--memory", "-1"], "usage", /not a size/],
    [["--cpus", "0"], "usage", /--cpus "0": not a number of cores/],
    [["--pids", "1.5"], "usage", /not a whole number/],
    [["--docker", "debian", "--gpus", "some"], "usage", /--gpus "some": not all/],
    [["--docker", "debian", "--net", "x"], "usage", /--net "x": not bridge or none or host/],
    [["--nspawn", "/x", "--net", "bridge"], "usage", /not host or none/],
    [["--docker", "debian", "--mount", "rel:/x"], "mount_invalid", /"rel" is not absolute/],
    [["--mount", "/a"], "limit_unsupported", /--mount cannot be held in native/],
    [["--net", "none"], "limit_unsupported", /--net cannot be held in native/],
    [["--volatile"], "limit_unsupported", /--volatile/],
    [["--nspawn", "/x", "--gpus", "all"], "limit_unsupported", /--gpus cannot be held in nspawn/],
    [["--docker", "debian", "--volatile"], "limit_unsupported", /--volatile/],
  ];
  for (const [flags, code, message] of cases) {
    const error = refusal("-t", "x", ...flags, "ls");
    assert.equal(error.code, code, flags.join(" "));
    assert.match(error.message, message);
  }
});

Deno.test("EXE-7: --user names a login, and is for native commands", () => {
  assert.equal(read("-t", "x", "--user", "build", "ls").target.login, "build");
  assert.equal(read("-s", "x", "--user", "build", "ls").target.login, "build");
  for (const name of ["0", "-x", "a b", "a:b", "a/b"]) {
    assert.equal(refusal("-t", "x", `--user=${name}`, "ls").code, "usage", name);
  }
  assert.equal(refusal("--docker", "x", "--user", "build", "ls").code, "limit_unsupported");
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
