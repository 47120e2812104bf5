import { openNspawnBackend } from "../../src/isolation/nspawn.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { requireComponent } from "../fixtures/component.ts";
import { makeTree } from "../fixtures/nspawn_tree.ts";
import { isolationContract } from "./isolation.ts";

isolationContract("nspawn", async () => {
  const tree = await makeTree();
  const backend = openNspawnBackend();
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
