import assert from "node:assert/strict";
import { findInTree, requireTree } from "../../../../src/isolation/nspawn/tree.ts";
import { requireMachine } from "../../../../src/isolation/nspawn/machine.ts";
import { requireComponent } from "../../../fixtures/component.ts";
import { makeTree, type Tree } from "../../../fixtures/nspawn_tree.ts";

function test(name: string, body: (tree: Tree, parent: string) => Promise<void>) {
  Deno.test(name, requireComponent("busybox", "linux-root"), async () => {
    await using tree = await makeTree();
    await body(tree, tree.root.slice(0, tree.root.lastIndexOf("/")));
  });
}

const refused = (root: string, why: RegExp) =>
  assert.rejects(requireTree(root), { code: "isolation_invalid", message: why });

test("EXE-11: a tree of root's is taken", ({ root }) => requireTree(root));

test("EXE-11, ISO-3: what is no tree is refused with what is wrong", async ({ root }, parent) => {
  await Deno.mkdir(`${parent}/empty`);
  await Deno.mkdir(`${parent}/half/usr`, { recursive: true });
  await refused("/", /own root/);
  await refused("relative", /own root/);
  await refused(`${root}/../tree`, /not plain/);
  await refused(`${root}//usr`, /not plain/);
  await refused(`${parent}/none`, /none is missing/);
  await refused(`${parent}/none/deeper`, /none is missing/);
  await refused(`${root}/etc/passwd`, /lies in another tree|not a directory/);
  await refused(`${parent}/empty`, /\/usr is missing/);
  await refused(`${parent}/half`, /\/bin\/sh is missing/);
});

test(
  "EXE-11: a link on the way is refused, and named by where it leads",
  async ({ root }, parent) => {
    await Deno.symlink(root, `${parent}/link`);
    await assert.rejects(requireTree(`${parent}/link`), {
      code: "isolation_invalid",
      message: /link is a symbolic link/,
      hint: new RegExp(`--nspawn ${root} `),
    });
    await Deno.symlink(parent, `${parent}/up`);
    await refused(`${parent}/up/tree`, /up is a symbolic link/);
  },
);

test("EXE-11: what others than root could swap or change is refused", async ({ root }, parent) => {
  await Deno.chmod(root, 0o777);
  await refused(root, /others than root may write to .*tree/);
  await Deno.chmod(root, 0o1777);
  await refused(root, /others than root may write to .*tree/);
  await Deno.chmod(root, 0o755);
  await Deno.chmod(parent, 0o775);
  await refused(root, /others than root may write/);
  await Deno.chmod(parent, 0o1777);
  await requireTree(root); // nobody replaces what is another's, as in /tmp
  await Deno.chown(parent, 65534, 65534);
  await refused(root, /does not belong to root/);
  await Deno.chown(parent, 0, 0);
  await Deno.chown(root, 65534, 0);
  await refused(root, /tree does not belong to root/);
});

test("EXE-11: a tree within a tree, whose commands could swap it, is refused", async ({ root }) => {
  await Deno.mkdir(`${root}/srv/inner/usr/bin`, { recursive: true });
  await refused(`${root}/srv/inner`, /lies in another tree/);
});

test("a program is found as a process in the tree would find it", async ({ root }) => {
  const find = (...paths: string[]) => findInTree(root, paths);
  assert.equal(await find("/bin/bash", "/bin/sh"), "/bin/sh");
  await Deno.symlink("/usr/bin/../bin/sh", `${root}/sh`);
  assert.equal(await find("/sh"), "/sh");
  // the machine has these, the tree has not
  await Deno.symlink("/usr/bin/env", `${root}/env`);
  await Deno.remove(`${root}/usr/bin/env`);
  await Deno.symlink("../../../../../../usr/bin/env", `${root}/up`);
  await Deno.symlink("loop", `${root}/loop`);
  assert.equal(await find("/env", "/up", "/loop", "/etc/passwd", "/usr/bin"), undefined);
  assert.equal(await find("/etc/passwd/sh"), undefined);
});

Deno.test("ISO-10: where nspawn cannot be, it is said what is missing", async () => {
  const here = { os: "linux", uid: 0, has: () => Promise.resolve(true) };
  await requireMachine(here);
  const refused = (machine: Partial<typeof here>, message: RegExp, hint: RegExp) =>
    assert.rejects(requireMachine({ ...here, ...machine }), {
      code: "isolation_unavailable",
      message,
      hint,
    });
  await refused({ os: "darwin" }, /Linux/, /--docker/);
  await refused({ uid: 501 }, /root/, /sudo openbox agent/);
  await refused(
    { has: () => Promise.resolve(false) },
    /no systemd-nspawn/,
    /apt-get install systemd-container/,
  );
});
