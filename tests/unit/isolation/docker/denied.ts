/** Says how an engine that may not be used is told: denied.ts HOST IMAGE */
// deno-lint-ignore-file no-console
import { openDockerBackend } from "../../../../src/isolation/docker/backend.ts";
import { command } from "../../../contract/isolation.ts";
import { placeOf } from "../../../fixtures/dockerd.ts";

const [host, image] = Deno.args as [string, string];
await using backend = openDockerBackend({ ...placeOf(host), owner: "test", boot: "2" });
await backend.run({ kind: "docker", image }, command("true")).then(
  () => console.log("it ran"),
  ({ code, message, hint }) => console.log(`${code}\n${message}\n${hint}`),
);
