/** The completion scripts, sourced by the shells they are for, with openbox from this checkout behind them. */
import assert from "node:assert/strict";
import { aNode, startFakeControl } from "./fake_control.ts";
import { makeHome } from "./call.ts";
import { requireComponent } from "../../fixtures/component.ts";

const MAIN = new URL("../../../main.ts", import.meta.url).pathname;

/** A logged-in home, `openbox` on the PATH of a shell, and the script of that shell in a file. */
async function world(shell: string) {
  const stack = new AsyncDisposableStack();
  const home = stack.use(await makeHome());
  const control = stack.use(startFakeControl());
  control.nodes = [aNode({ name: "mac-mini", tags: ["gpu", "mac"] }), aNode({ name: "pi" })];
  await home.call(["login", "--server", control.url], { stdin: control.token });
  const bin = `${home.path}/bin`;
  await Deno.mkdir(bin);
  await Deno.writeTextFile(
    `${bin}/openbox`,
    `#!/bin/sh\nexec '${Deno.execPath()}' run -A --no-prompt --no-check '${MAIN}' "$@"\n`,
    { mode: 0o755 },
  );
  const script = `${home.path}/completion`;
  await Deno.writeTextFile(script, (await home.call(["completion", shell])).out);
  const env = {
    PATH: `${bin}:${Deno.env.get("PATH")}`,
    OPENBOX_HOME: home.path,
    NO_COLOR: "1",
  };
  return { control, script, env, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function output(command: string, args: string[], env: Record<string, string>) {
  const { stdout } = await new Deno.Command(command, { args, env, stdin: "null", stderr: "null" })
    .output();
  return new TextDecoder().decode(stdout);
}

Deno.test({
  name: "bash completes commands, flags, node names and tags",
  ...requireComponent("bash"),
  async fn() {
    await using w = await world("bash");
    const complete = async (...words: string[]) => {
      const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _openbox
        printf '%s\\n' "\${COMPREPLY[@]}"`;
      const args = ["-c", script, "bash", w.script, "openbox", ...words];
      return (await output("bash", args, w.env)).trim().split("\n").sort();
    };
    const cases: [string[], string[]][] = [
      [["no"], ["node", "nodes"]],
      [["node", "r"], ["rename", "rm"]],
      [["nodes", "--j"], ["--json"]],
      [["-n", "mac"], ["mac-mini"]],
      [["run", "-t", ""], ["build", "gpu", "mac"]],
      [["-t", "gpu", "--t"], ["--timeout", "--tty"]],
      [["node", "show", "p"], ["pi"]],
      [["-t", "gpu", "--net", ""], ["bridge", "host", "none"]],
      [["-t", "gpu", "--m"], ["--memory", "--mount"]],
      [["completion", "z"], ["zsh"]],
      [["-t", "gpu", "ls", "n"], [""]],
    ];
    for (const [words, wanted] of cases) assert.deepEqual(await complete(...words), wanted);
  },
});

Deno.test({
  name: "zsh completes a command and a node's name on its own command line",
  ...requireComponent("zsh"),
  async fn() {
    await using w = await world("zsh");
    // a zsh of its own on a pseudo-terminal, typed at as by a person
    const script = String.raw`
      zmodload zsh/zpty
      zpty shell 'PS1="> " zsh -f -i'
      say() { zpty -w -n shell "$1"; }
      await() { zpty -r shell line "*$1*"; }
      say $'autoload -Uz compinit; compinit -u -d "$SCRIPT.dump"; source "$SCRIPT"; echo rea""dy\n'
      await ready
      say $'openbox node ren\t mac-\tx\x01: \x05; echo en""d\n'
      await end
      print -r -- $line
      zpty -d shell`;
    const args = ["-k", "1", "20", "zsh", "-f", "-c", script];
    const out = await output("timeout", args, { ...w.env, SCRIPT: w.script });
    assert.match(out, /openbox node rename mac-mini x/);
  },
});

Deno.test("what goes to a node is the shell's own to complete, and a dead control plane is no error", async () => {
  await using home = await makeHome();
  const { code, out, err } = await home.call(["__complete", "-n", "m"], {
    env: { OPENBOX_SERVER: "http://127.0.0.1:9", OPENBOX_TOKEN: "obx_x" },
  });
  assert.deepEqual([code, out, err], [0, "", ""]);
});
