import type { IsolationBackend } from "../../src/isolation/backend.ts";
import { type Cgroups, openCgroups } from "../../src/isolation/cgroup.ts";
import { openNativeBackend } from "../../src/isolation/native/backend.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { requireComponent } from "../fixtures/component.ts";
import { isolationContract } from "./isolation.ts";

const suite = (
  name: string,
  findCgroups: () => Promise<Cgroups | undefined>,
  as: (backend: IsolationBackend) => IsolationBackend = (backend) => backend,
) =>
  isolationContract(name, async () => {
    const backend = await openNativeBackend({ findCgroups });
    return {
      backend: as(backend),
      spec: NATIVE,
      otherSpec: { kind: "docker", image: "debian" },
      [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
    };
  });

suite("native", () => openCgroups());
suite("native without cgroups", () => Promise.resolve(undefined));
suite("native in cgroup v2", () => openCgroups("0::/\n"));

/** Every Linux has it. */
const DAEMON = { name: "daemon", uid: 1, gid: 1 };
if (!requireComponent("linux-root").ignore) {
  suite("native as another login", () => openCgroups(), (backend) => ({
    ...backend,
    run: (spec, command, options) => backend.run(spec, { ...command, account: DAEMON }, options),
  }));
}
