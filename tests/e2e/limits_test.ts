/** Limits of native commands and sessions, by the CLI and by the settings of a node: docs/fidelity.md ISO-7. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { startFleet, step } from "../fixtures/fleet.ts";

/** Starts more than 40 processes, and says whether it could. */
const MANY = "i=0; while [ $i -lt 60 ]; do sleep 0.5 & i=$((i+1)); done; echo all";

Deno.test("limits, end to end", requireComponent("linux-root", "bash"), async (t) => {
  await using fleet = await startFleet({
    agents: [
      { name: "free", tags: ["free"] },
      { name: "capped", tags: ["capped"], settings: "[caps]\npids = 40\n" },
    ],
  });
  const on = (tag: string, ...args: string[]) => fleet.call(["-t", tag, ...args]);

  await step(t, "ISO-7: --memory and --pids hold, and without them there is no limit", async () => {
    assert.equal((await on("free", "--memory", "64m", "exec tail -n 1 /dev/zero")).code, 137);
    assert.equal((await on("free", `(${MANY})`)).out, "all\n");
    const held = await on("free", "--pids", "20", `(${MANY})`);
    assert.equal(held.out, "");
    assert.match(held.err, /fork/i);
  });

  await step(
    t,
    "ISO-7: what a node's owner set holds without a flag, and is the most",
    async () => {
      assert.equal((await on("capped", `(${MANY})`)).out, "");
      const more = await on("capped", "--pids", "41", "true");
      assert.equal(more.code, 255);
      assert.match(more.err, /limit_not_allowed: not started/);
    },
  );

  await step(
    t,
    "RES-1: a fork bomb in a session is held, the node answers, and the session's end ends it",
    async () => {
      const bomb = fleet.spawn([
        ...["-t", "free", "-s", "bomb", "--pids", "60"],
        "b() { b | b & }; echo lit; while :; do b; done",
      ]);
      const reader = bomb.stdout.getReader();
      assert.match(new TextDecoder().decode((await reader.read()).value), /^lit/);
      assert.equal((await on("free", "echo answers")).out, "answers\n");
      const startedAt = performance.now();
      assert.equal((await fleet.call(["session", "end", "bomb"])).code, 0);
      assert.ok(performance.now() - startedAt < 5_000, `${performance.now() - startedAt} ms`);
      await bomb.stdin.close().catch(() => {});
      await Promise.all([reader.cancel(), bomb.stderr.cancel(), bomb.status]);
      assert.equal((await on("free", "-s", "bomb", "echo anew")).out, "anew\n");
    },
  );
});
