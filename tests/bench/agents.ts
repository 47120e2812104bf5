/**
 * Many nodes in one process, as `openbox agent` composes each. Standard input says which, in JSON; when they
 * all listen it prints a line, and it ends with its input.
 */
import { STANDARD_PATH } from "../../src/agent/login.ts";
import { readAgentSettings } from "../../src/agent/settings.ts";
import { startAgent } from "../../src/agent/start.ts";
import { text, utf8 } from "../../src/bytes.ts";
import type { Host } from "../../src/host.ts";
import { processHost } from "../../src/process_host.ts";

/** One line of the input. */
export interface AgentsAsked {
  readonly server: string;
  /** In which each has its files. */
  readonly directory: string;
  /** An enroll token by the node's name. */
  readonly tokens: Readonly<Record<string, string>>;
}

if (import.meta.main) {
  Deno.umask(0o077);
  const host = processHost(), lines = Deno.stdin.readable.getReader();
  let input = "";
  while (!input.includes("\n")) input += text((await lines.read()).value!);
  const { server, directory, tokens }: AgentsAsked = JSON.parse(input);
  await using agents = new AsyncDisposableStack();
  for (const [name, token] of Object.entries(tokens)) {
    const home = `${directory}/${name}`;
    const own: Host = {
      ...host,
      env: (variable) => variable === "OPENBOX_HOME" ? home : host.env(variable),
    };
    const flags = { server, token, name, addr: "127.0.0.1:0" };
    const settings = await readAgentSettings(flags, own);
    // of its own each would start a login shell to ask for it: on one machine that is work for minutes
    const rules = { ...settings.rules, commandPath: STANDARD_PATH };
    agents.use(await startAgent({ ...settings, rules }, own));
  }
  await Deno.stdout.write(utf8("listening\n"));
  while (!(await lines.read()).done);
}
