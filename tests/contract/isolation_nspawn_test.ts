import { type Cgroups, openCgroups } from "../../src/isolation/cgroup.ts";
import { openNspawnBackend } from "../../src/isolation/nspawn.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { requireComponent } from "../fixtures/component.ts";
import { makeTree } from "../fixtures/nspawn_tree.ts";
import { isolationContract } from "./isolation.ts";

const suite = (name: string, findCgroups: () => Promise<Cgroups | undefined>) =>
  isolationContract(name, async () => {
    const tree = await makeTree();
    const backend = openNspawnBackend({ findCgroups });
    return {
      backend,
      spec: { kind: "nspawn", root: tree.root },
      otherSpec: NATIVE,
      async [Symbol.asyncDispose]() {
        await backend[Symbol.asyncDispose]();
        await tree[Symbol.asyncDispose]();
      },
    };
  }, requireComponent("systemd-nspawn", "busybox", "linux-root"));

suite("nspawn", () => openCgroups());
suite("nspawn without cgroups", () => Promise.resolve(undefined));
suite("nspawn in cgroup v2", () => openCgroups("0::/\n"));
