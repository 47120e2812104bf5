/** A process with runs that go on, to be killed by the test. Its argument is a directory to tell in what it started. */
import { openNativeBackend } from "../../../src/isolation/native/backend.ts";
import { openCgroups } from "../../../src/isolation/cgroup.ts";
import { NATIVE } from "../../../src/isolation/spec.ts";
import { command, finish } from "../../contract/isolation.ts";

const [dir, mode] = Deno.args as [string, string];
const cgroups = mode === "no cgroups" ? undefined : await openCgroups();
const backend = await openNativeBackend({ findCgroups: () => Promise.resolve(cgroups) });

{
  const line = `sleep 300 >/dev/null 2>&1 & echo $! >>${dir}/background`;
  await using ended = await backend.run(NATIVE, command(line));
  await finish(ended);
}
const escape = mode === "no cgroups" ? "" : `
setsid sh -c 'echo $$ >>${dir}/pids; sleep 300' &
env -i setsid sh -c 'echo $$ >>${dir}/pids; exec sleep 300' &`;
await backend.run(
  NATIVE,
  command(`trap '' TERM HUP\nsleep 300 &${escape}\necho $! >>${dir}/pids\nsleep 300`),
);
await backend.run(NATIVE, command(`echo $$ >>${dir}/pids; while :; do echo more; sleep 0.1; done`));
await backend.run(NATIVE, command(`echo $$ >>${dir}/pids; sleep 300; : ${"x".repeat(300_000)}`));
await Deno.writeTextFile(`${dir}/cgroups`, cgroups?.path ?? "");
await new Promise((resolve) => setTimeout(resolve, 60_000));
