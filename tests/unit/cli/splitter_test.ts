import assert from "node:assert/strict";
import { splitCommandLine } from "../../../src/cli/splitter.ts";

/** A run as `name=value` of its flags, `|`, its words; what is for the tree as it stands. */
function read(...args: string[]): string {
  const line = splitCommandLine(args);
  if (line.kind === "tree") return `tree ${line.args.join(" ")}`;
  const flags = [...line.flags].map(([name, values]) => `${name}=${values.join("+")}`);
  return [...flags, "|", ...line.words].join(" ");
}

Deno.test("RUN-6: with a target everything from the first word on is the command's", () => {
  assert.equal(read("-t", "mac", "ls", "-la", "--json"), "tag=mac | ls -la --json");
  assert.equal(read("-n", "mini", "run", "nodes"), "node=mini | run nodes");
  assert.equal(read("-t", "mac", "-", "x"), "tag=mac | - x");
  assert.equal(read("--isolate", "native", "ls"), "isolate=native | ls");
  assert.equal(read("--docker", "alpine", "sh", "-c", "ls"), "docker=alpine | sh -c ls");
  assert.equal(read("run", "ls", "-t", "mac"), "| ls -t mac");
});

Deno.test("RUN-6: -- ends our flags, and makes a remote command without a target", () => {
  assert.equal(read("-t", "x", "--", "-la", "--"), "tag=x | -la --");
  assert.equal(read("run", "-t", "x", "--", "cmd"), "tag=x | cmd");
  assert.equal(read("run", "-t", "x", "cmd", "--", "a"), "tag=x | cmd -- a");
  assert.equal(read("--", "nodes"), "| nodes");
  assert.equal(read("--json", "--", "up"), "json= | up");
});

Deno.test("a value stands in any of its forms", () => {
  assert.equal(read("-tmac", "ls"), "tag=mac | ls");
  assert.equal(read("-t=mac", "ls"), "tag=mac | ls");
  assert.equal(read("--tag=mac", "ls"), "tag=mac | ls");
  assert.equal(read("-t", "x", "-C/a b", "ls"), "tag=x cwd=/a b | ls");
  assert.equal(read("-t", "x", "--timeout=1s", "ls"), "tag=x timeout=1s | ls");
  assert.equal(read("-t", "x", "-e", "A=1", "-eB=c=d", "ls"), "tag=x env=A=1+B=c=d | ls");
  assert.equal(read("-T", "-t", "x", "ls"), "no-tty= tag=x | ls");
});

Deno.test("without a target a line is the tree's: a typing error never runs on a node", () => {
  for (const args of [[], ["nodse"], ["nodes", "-t", "x"], ["--help"], ["-x", "ls"], ["up"]]) {
    assert.equal(read(...args), `tree ${args.join(" ")}`);
  }
  assert.equal(read("run", "--help"), "tree run --help");
  assert.equal(read("-t", "mac", "-h"), "tree run --help");
});

Deno.test("what cannot be read is refused, with a guess where there is one", () => {
  const refused = (args: string[], message: RegExp, hint = /./) =>
    assert.throws(() => splitCommandLine(args), (error: { code: string; hint: string } & Error) => {
      assert.equal(error.code, "usage");
      assert.match(error.message, message);
      assert.match(error.hint, hint);
      return true;
    });
  refused(["-t"], /^-t needs a value/);
  refused(["-t", "", "ls"], /^-t needs a value that is not empty/);
  refused(["--tag=", "ls"], /^--tag needs a value that is not empty/);
  refused(["-t", "a", "-t", "b", "ls"], /^-t is given twice/);
  refused(["-t", "a", "--json=1", "ls"], /^--json takes no value/);
  refused(["-t", "a", "--jsn", "ls"], /no flag --jsn/, /did you mean --json\?/);
  refused(["run", "-la"], /no flag -la/, /-- ends/);
  refused(["--timeout", "1s", "ls"], /says no node/);
  refused(["--json", "nodes"], /says no node/);
});
