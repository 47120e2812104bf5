import { openDockerBackend } from "../../src/isolation/docker/backend.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { requireComponent } from "../fixtures/component.ts";
import { sharedHost } from "../fixtures/docker_host.ts";
import { makeImage, placeOf } from "../fixtures/dockerd.ts";
import { isolationContract } from "./isolation.ts";

const { ignore } = requireComponent("docker-engine", "busybox");
let image: Promise<string> | undefined;

isolationContract("docker", async () => {
  const host = sharedHost()!;
  image ??= makeImage(host, "openbox-contract");
  const boot = crypto.randomUUID();
  const backend = openDockerBackend({ ...placeOf(host), owner: `test-${boot}`, boot });
  return {
    backend,
    spec: { kind: "docker", image: await image },
    otherSpec: NATIVE,
    ownEnv: ["HOME", "HOSTNAME", "TERM"],
    [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
  };
}, { ignore });
