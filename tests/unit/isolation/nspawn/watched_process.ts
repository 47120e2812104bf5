/** A process with containers that go on, to be killed by the test. Its arguments: a tree for runs, one for a session, a mark. */
import { openNspawnBackend } from "../../../../src/isolation/nspawn/backend.ts";
import { command } from "../../../contract/isolation.ts";

const [runs, session, seconds] = Deno.args as [string, string, string];
const backend = openNspawnBackend();
const line = `trap '' TERM; setsid sleep ${seconds} & sleep ${seconds}`;
await Promise.all(Array.from({ length: 20 }, () =>
  backend.run(
    { kind: "nspawn", root: runs },
    command(line, { confinement: { volatile: true } }),
  )));
const shell = await backend.keepShell(
  { kind: "nspawn", root: session },
  { argv: ["/bin/sh"], env: {}, cwd: "/" },
);
await shell.tell(`sleep ${seconds} & sleep ${seconds}\n`);
await new Promise((resolve) => setTimeout(resolve, 60_000));
