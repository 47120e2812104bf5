import { type Cgroups, openCgroups } from "../../src/isolation/cgroup.ts";
import { openNspawnBackend } from "../../src/isolation/nspawn/backend.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { requireComponent } from "../fixtures/component.ts";
import { makeTree } from "../fixtures/nspawn_tree.ts";
import { isolationContract } from "./isolation.ts";

const suite = (name: string, findCgroups: () => Promise<Cgroups | undefined>) =>
  isolationContract(name, async () => {
    const tree = await makeTree();
    const cgroups = await findCgroups();
    const backend = openNspawnBackend({ findCgroups: () => Promise.resolve(cgroups) });
    return {
      backend,
      spec: { kind: "nspawn", root: tree.root },
      otherSpec: NATIVE,
      async [Symbol.asyncDispose]() {
        await backend[Symbol.asyncDispose]();
        cgroups?.[Symbol.dispose](); // a backend that started nothing has not taken them
        if (cgroups) await removeMirror(cgroups);
        await tree[Symbol.asyncDispose]();
      },
    };
  }, requireComponent("systemd-nspawn", "busybox", "linux-root"));

/** On a machine with v1 beside v2, nspawn has what it is in of v2 in systemd's hierarchy as well. */
async function removeMirror({ path }: Cgroups): Promise<void> {
  const mirror = `/sys/fs/cgroup/systemd/${path.slice(path.lastIndexOf("/") + 1)}`;
  await new Deno.Command("find", {
    args: [mirror, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
    stderr: "null",
  }).output();
}

suite("nspawn", () => openCgroups());
suite("nspawn without cgroups", () => Promise.resolve(undefined));
suite("nspawn in cgroup v2", () => openCgroups("0::/\n"));
