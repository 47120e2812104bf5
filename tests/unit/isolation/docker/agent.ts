/** A process that runs commands and keeps a shell in docker until it is killed: agent.ts HOST OWNER IMAGE */
import { utf8 } from "../../../../src/bytes.ts";
import { openDockerBackend } from "../../../../src/isolation/docker/backend.ts";
import { placeOf } from "../../../fixtures/dockerd.ts";

const [host, owner, image] = Deno.args as [string, string, string];
const backend = openDockerBackend({ ...placeOf(host), owner, boot: "first" });
const spec = { kind: "docker", image } as const;
const run = () =>
  backend.run(spec, { line: utf8("trap '' HUP INT TERM; sleep 300"), env: {}, cwd: "/" });
await Promise.all([
  ...Array.from({ length: 9 }, run),
  backend.keepShell(spec, { argv: ["/bin/sh"], env: {}, cwd: "/" }),
]);
await Deno.stdout.write(utf8("running\n"));
await new Promise((resolve) => setTimeout(resolve, 300_000));
