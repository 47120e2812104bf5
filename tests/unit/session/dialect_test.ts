import assert from "node:assert/strict";
import { chooseDialect, chooseDialectInside } from "../../../src/session/dialect.ts";
import { findProgram, requireComponent } from "../../fixtures/component.ts";
import { openSession, PATH } from "./world.ts";

Deno.test("SEQ-13: the login's own shell where it is one that we know", async () => {
  const kinds = [["/bin/bash", "bash"], ["/usr/bin/zsh", "zsh"], ["/bin/dash", "ash"]] as const;
  for (const [shell, kind] of kinds) {
    const dialect = await chooseDialect(shell, PATH);
    assert.deepEqual([dialect.kind, dialect.argv[0]], [kind, shell]);
  }
  assert.deepEqual((await chooseDialect("/bin/busybox", PATH)).argv.slice(0, 2), [
    "/bin/busybox",
    "sh",
  ]);
});

Deno.test(
  "SEQ-13: fish, and what is no shell, fall back to bash, then to sh",
  requireComponent("bash"),
  async () => {
    for (const shell of ["/usr/bin/fish", "/usr/sbin/nologin", "/bin/tcsh", ""]) {
      const dialect = await chooseDialect(shell, PATH);
      assert.deepEqual([dialect.kind, dialect.argv[0]], ["bash", findProgram("bash")], shell);
      assert.equal((await chooseDialect(shell, "/nowhere")).argv[0], "/bin/sh");
    }
  },
);

Deno.test("SEQ-13: inside of an image or a tree it is bash where there is one, else sh as any sh", async () => {
  const inside = (...there: string[]) =>
    chooseDialectInside((paths) => Promise.resolve(paths.find((path) => there.includes(path))));
  const bash = await inside("/usr/bin/bash", "/bin/sh");
  assert.deepEqual([bash.kind, bash.argv[0]], ["bash", "/usr/bin/bash"]);
  const sh = await inside("/bin/sh");
  assert.deepEqual([sh.kind, sh.argv[0]], ["ash", "/bin/sh"]);
});

Deno.test("SEQ-13: sh is asked which shell it is", requireComponent("bash"), async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.symlink(findProgram("bash")!, `${folder}/sh`);
    assert.equal((await chooseDialect(`${folder}/sh`, PATH)).kind, "bash");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test(
  "SEQ-13: without a cgroup a session ends what it started all the same",
  requireComponent("bash"),
  async () => {
    await using session = await openSession("bash", { cgroups: false });
    await session.run("kept=1; sleep 300 & job=$!");
    const process = await session.start("sh -c 'trap \"\" INT; while :; do sleep 1; done'");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await process.terminate();
    await process[Symbol.asyncDispose]();
    assert.equal((await session.run("echo $kept; kill -0 $job && echo alive")).out, "1\nalive\n");
  },
);
