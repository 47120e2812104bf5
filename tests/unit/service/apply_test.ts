import assert from "node:assert/strict";
import {
  installService,
  isLingering,
  type RunTool,
  serviceStatus,
  uninstallService,
} from "../../../src/service/apply.ts";
import { systemd } from "../../../src/service/systemd.ts";
import type { OpenboxError } from "../../../src/errors.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { eventually } from "../../fixtures/processes.ts";
import { agentSpec } from "./spec.ts";

const options = { signal: AbortSignal.timeout(60_000) };
const done = { success: true, stdout: "", stderr: "" };
const placed = { service: "agent", scope: "user" } as const;

/** A user's systemd whose files lie in a folder of the test, and whose commands are kept. */
async function world(
  answer: (command: string, times: number) => Partial<typeof done> = () => ({}),
) {
  const root = await Deno.makeTempDir({ prefix: "openbox-service-" });
  const ran: string[] = [], clock = new FakeClock();
  const run: RunTool = (command) => {
    const text = command.join(" ");
    ran.push(text);
    return Promise.resolve({ ...done, ...answer(text, ran.filter((one) => one === text).length) });
  };
  const manager = systemd({ userDirectory: `${root}/systemd/user`, uid: 1000 });
  return {
    deps: { manager, run, clock },
    clock,
    ran,
    unit: `${root}/systemd/user/openbox-agent.service`,
    [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }),
  };
}

Deno.test("installed twice a service goes on, with other flags it is started anew", async () => {
  await using w = await world();
  const spec = agentSpec({ scope: "user" });
  const [first] = await installService(spec, w.deps, options);
  assert.deepEqual(first, { path: w.unit, change: "written" });
  assert.equal((await Deno.stat(w.unit)).mode! & 0o777, 0o644);
  w.ran.length = 0;
  const [second] = await installService(spec, w.deps, options);
  assert.equal(second!.change, "unchanged");
  assert.deepEqual(w.ran, [
    "systemctl --user enable openbox-agent.service",
    "systemctl --user start openbox-agent.service",
  ]);
  w.ran.length = 0;
  await installService({ ...spec, flags: ["--tag=gpu"] }, w.deps, options);
  assert.ok(w.ran.includes("systemctl --user restart openbox-agent.service"));
  const folder = await Array.fromAsync(Deno.readDir(w.unit.replace(/\/[^/]*$/, "")));
  assert.deepEqual(folder.map(({ name }) => name), ["openbox-agent.service"], "no litter");
});

Deno.test("uninstalled, nothing of a service is left, and lingering ends only where it was begun for it", async () => {
  for (const lingers of [true, false]) {
    await using w = await world();
    await installService(agentSpec({ scope: "user", lingers }), w.deps, options);
    w.ran.length = 0;
    assert.deepEqual(await uninstallService(placed, w.deps, options), [w.unit]);
    assert.equal(w.ran[0], "systemctl --user disable --now openbox-agent.service");
    assert.equal(w.ran.includes("loginctl disable-linger 1000"), lingers);
    await assert.rejects(Deno.lstat(w.unit), Deno.errors.NotFound);
    w.ran.length = 0;
    assert.deepEqual(await uninstallService(placed, w.deps, options), []);
    assert.deepEqual(w.ran, []);
  }
});

Deno.test("a manager that refuses is quoted, with the command that shows more", async () => {
  await using w = await world((command) =>
    command.includes("restart") ? { success: false, stderr: "Job failed.\n" } : {}
  );
  await assert.rejects(
    installService(agentSpec({ scope: "user" }), w.deps, options),
    (error: OpenboxError) => {
      assert.equal(error.code, "unavailable");
      assert.match(
        error.message,
        /systemctl --user restart openbox-agent.service failed: Job failed/,
      );
      assert.equal(error.hint, "journalctl --user -u openbox-agent -n 50");
      return true;
    },
  );
});

Deno.test("a user's manager that begins to run only now is waited for", async () => {
  await using w = await world((command, times) =>
    command.includes("daemon-reload") && times < 3
      ? { success: false, stderr: "Failed to connect to bus: No such file or directory" }
      : {}
  );
  const spec = agentSpec({ scope: "user", lingers: true });
  const installing = installService(spec, w.deps, options);
  for (let times = 1; times < 3; times++) {
    await eventually("a pause", () => w.clock.sleeping === 1);
    w.clock.advance(100);
  }
  await installing;
  assert.equal(w.ran[0], "loginctl enable-linger 1000");
  assert.equal(w.ran.filter((one) => one.includes("daemon-reload")).length, 3);
});

Deno.test("without a login the way to have one's own services is named", async () => {
  await using w = await world((command) =>
    command.includes("daemon-reload")
      ? { success: false, stderr: "Failed to connect to bus: No medium found" }
      : {}
  );
  await assert.rejects(installService(agentSpec({ scope: "user" }), w.deps, options), {
    hint: /loginctl enable-linger/,
  });
});

Deno.test("whether a user's services go on without a login is asked where it matters", async () => {
  await using w = await world((command) =>
    command.startsWith("loginctl") ? { stdout: "Linger=yes\n" } : {}
  );
  assert.equal(await isLingering(placed, w.deps, options), true);
  assert.equal(
    await isLingering({ service: "agent", scope: "system" }, w.deps, options),
    undefined,
  );
  await using unknown = await world(() => ({ success: false, stderr: "Unknown user" }));
  assert.equal(await isLingering(placed, unknown.deps, options), false);
});

Deno.test("a service without files is not installed, whatever its manager knows of it", async () => {
  await using w = await world(() => ({ stdout: "ActiveState=active\nSubState=running\n" }));
  assert.equal((await serviceStatus(placed, w.deps, options)).installed, false);
  await installService(agentSpec({ scope: "user" }), w.deps, options);
  const { installed, state } = await serviceStatus(placed, w.deps, options);
  assert.deepEqual([installed, state], [true, "running"]);
});
