/** Machines whose clocks differ: docs/fidelity.md RUN-24. */
import assert from "node:assert/strict";
import { readAgentSettings } from "../../src/agent/settings.ts";
import { startAgent } from "../../src/agent/start.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { fakeHost } from "../fakes/host.ts";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { eventually } from "../fixtures/processes.ts";

const MINUTE = 60_000;

/** An agent in this process, whose clock is ahead by so much. */
async function startAhead(fleet: Fleet, name: string, aheadMs: number) {
  const { token } = JSON.parse((await fleet.call(["node", "token", "--json"])).out);
  const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs };
  const env = { OPENBOX_HOME: `${fleet.scratch}/${name}`, HOME: Deno.env.get("HOME")! };
  const host = fakeHost({ clock, env });
  const flags = { server: fleet.url, name, token, addr: "127.0.0.1:0" };
  return await startAgent(await readAgentSettings(flags, host), host);
}

Deno.test("clocks that differ", async (t) => {
  await using fleet = await startFleet({ agents: [] });
  const cases = [
    { name: "behind", aheadMs: -4 * MINUTE, works: true },
    { name: "ahead", aheadMs: 4 * MINUTE, works: true },
    { name: "far-behind", aheadMs: -120 * MINUTE, offset: "2 h 0 min behind" },
    { name: "far-ahead", aheadMs: 120 * MINUTE, offset: "2 h 0 min ahead of" },
    { name: "ten-behind", aheadMs: -10 * MINUTE, offset: "10 min 0 s behind" },
    { name: "a-year-ahead", aheadMs: 365 * 24 * 60 * MINUTE, offset: "ahead of" },
  ];
  for (const { name, aheadMs, works, offset } of cases) {
    const what = works ? "works" : "is refused as clock_skew, with the offset";
    await step(t, `RUN-24, CLK-1: an agent ${aheadMs / MINUTE} minutes ahead ${what}`, async () => {
      await using _agent = await startAhead(fleet, name, aheadMs);
      const { code, out, err } = await eventually("the node is known", async () => {
        const done = await fleet.call(["-n", name, "echo hi"]);
        return !done.err.startsWith("openbox: node_offline") && done;
      });
      if (works) return assert.deepEqual([code, out, err], [0, "hi\n", ""]);
      assert.deepEqual([code, out], [255, ""]);
      assert(err.startsWith("openbox: clock_skew: not started: "), err);
      assert(err.includes(offset!), err);
    });
  }
});
