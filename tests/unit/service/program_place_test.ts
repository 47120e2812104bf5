import assert from "node:assert/strict";
import { requireStablePlace } from "../../../src/service/program_place.ts";
import { requireComponent } from "../../fixtures/component.ts";

const agent = { service: "agent", scope: "system" } as const;
const mine = { service: "agent", scope: "user" } as const;
const options = { uid: Deno.uid()!, better: "/usr/local/bin/openbox" };
const asRoot = requireComponent("linux-root");

/** A program below /var/lib, which is root's alone, as a place for the test's own. */
async function place() {
  const root = await Deno.makeTempDir({ dir: "/var/lib", prefix: "openbox-place-" });
  await Deno.chmod(root, 0o755);
  const program = `${root}/openbox`;
  await Deno.writeTextFile(program, "#!/bin/sh\n", { mode: 0o755 });
  await Deno.chmod(program, 0o755);
  return {
    root,
    program,
    [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }),
  };
}

Deno.test("an executable that only root may change is a service's", asRoot, async () => {
  await using here = await place();
  await requireStablePlace(here.program, agent, options);
  await Deno.symlink(here.program, `${here.root}/link`);
  await requireStablePlace(`${here.root}/link`, agent, options);
});

Deno.test("one that lies where things are cleaned away is refused with a better place", async () => {
  const program = await Deno.makeTempFile({ dir: "/tmp", prefix: "openbox-" });
  for (const placed of [agent, mine]) {
    await assert.rejects(requireStablePlace(program, placed, options), {
      code: "bad_setting",
      message: /cleaned away/,
      hint: /install -m 755 .* \/usr\/local\/bin\/openbox/,
    });
  }
  await Deno.remove(program);
  await assert.rejects(requireStablePlace("/nowhere/openbox", mine, options), {
    message: /there is no such file/,
  });
});

Deno.test("one that others can put another in the place of is refused", asRoot, async () => {
  await using here = await place();
  await Deno.chmod(here.program, 0o757);
  await assert.rejects(requireStablePlace(here.program, agent, options), {
    code: "unsafe_file",
    hint: `chmod go-w ${here.program}`,
  });
  await Deno.chmod(here.program, 0o755);
  await Deno.chmod(here.root, 0o777);
  await assert.rejects(requireStablePlace(here.program, mine, options), {
    message: new RegExp(`${here.root}: other users may write there`),
  });
  await Deno.chmod(here.root, 0o755);
  await Deno.chown(here.program, 65534, 65534);
  await assert.rejects(requireStablePlace(here.program, agent, options), {
    message: /belongs to another user/,
    hint: `chown 0 ${here.program}`,
  });
});

Deno.test("the control plane, which sees no home, is not started from one", asRoot, async () => {
  const directory = await Deno.makeTempDir({ dir: "/root", prefix: "openbox-place-" });
  await Deno.writeTextFile(`${directory}/openbox`, "", { mode: 0o755 });
  const control = { service: "control", scope: "system" } as const;
  await assert.rejects(requireStablePlace(`${directory}/openbox`, control, options), {
    message: /sees no home/,
  });
  await Deno.remove(directory, { recursive: true });
});
