import { type Cgroups, openCgroups } from "../../src/isolation/cgroup.ts";
import { openNativeBackend } from "../../src/isolation/native.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { isolationContract } from "./isolation.ts";

const suite = (name: string, findCgroups: () => Promise<Cgroups | undefined>) =>
  isolationContract(name, async () => {
    const backend = await openNativeBackend({ findCgroups });
    return {
      backend,
      spec: NATIVE,
      otherSpec: { kind: "docker", image: "debian" },
      [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
    };
  });

suite("native", () => openCgroups());
suite("native without cgroups", () => Promise.resolve(undefined));
suite("native in cgroup v2", () => openCgroups("0::/\n"));
