/** `openbox doctor` on a set-up of real processes, and on what is broken in it. */
import assert from "node:assert/strict";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";

interface Row {
  readonly check: string;
  readonly verdict: string;
  readonly text: string;
  readonly hint: string | null;
}

/** What is wrong, by the checks' names. */
async function wrongs(fleet: Fleet): Promise<Record<string, Row>> {
  const { code, out, err } = await fleet.call(["doctor", "--json"]);
  assert.ok(out !== "", err);
  const { ok, findings }: { ok: boolean; findings: Row[] } = JSON.parse(out);
  assert.equal(code, ok ? 0 : 1);
  const wrong = findings.filter(({ verdict }) => verdict === "wrong");
  return Object.fromEntries(wrong.map((row) => [row.check, row]));
}

Deno.test("the doctor", async (t) => {
  await using fleet = await startFleet({ agents: [{ name: "mini" }] });
  const [agent] = fleet.agents;

  await step(t, "finds nothing wrong where all is well", async () => {
    assert.deepEqual(await wrongs(fleet), {});
  });

  await step(t, "CFG-1: names the command that closes a login which others can read", async () => {
    const config = `${fleet.home}/config.json`;
    await Deno.chmod(config, 0o644);
    const { login } = await wrongs(fleet);
    assert.equal(login?.hint, `chmod 600 ${config}`);
    await Deno.chmod(config, 0o600);
  });

  await step(t, "tells a node that is online, but not reached", async () => {
    agent!.kill("SIGKILL");
    await agent!.ended;
    const { nodes, ...others } = await wrongs(fleet);
    assert.match(nodes!.text, /^mini is online, but cannot be reached at 127\.0\.0\.1:/);
    assert.deepEqual(others, {});
  });
});
