import assert from "node:assert/strict";
import { FakeClock } from "../../fakes/clock.ts";
import { eventually } from "../../fixtures/processes.ts";
import { done } from "./access_world.ts";
import { registration, startWorld } from "./world.ts";

/** Of a control plane: what is held and who is silent, and the audit's head. */
const LOOPS = 2;

/** A control plane with two ephemeral nodes, and time that passes in the steps in which it looks. */
async function world() {
  const clock = new FakeClock();
  const world = await startWorld({ clock });
  const by = { token: world.token };
  const body = { reusable: 2, ephemeral_seconds: 120 };
  const { token } = await done(world.call("POST", "/v1/enroll-tokens", { ...by, body }));
  const join = async (name: string) => {
    const made = await done(
      world.call("POST", "/v1/nodes/register", { body: { ...registration(token), name } }),
    );
    const beat = () =>
      world.call("POST", "/v1/nodes/heartbeat", {
        token: made.node_token,
        body: { node_id: made.node_id },
      });
    assert.equal((await beat()).status, 200);
    return { id: made.node_id, beat };
  };
  const step = async () => {
    await eventually("it sleeps", () => clock.sleeping === LOOPS);
    clock.advance(5000);
    await eventually("it has looked", () => clock.sleeping === LOOPS);
  };
  const names = async () => {
    const { nodes } = await done(world.call("GET", "/v1/nodes", by));
    return nodes.map(({ name }: { name: string }) => name);
  };
  return { world, clock, silent: await join("silent"), loud: await join("loud"), step, names };
}

Deno.test("a node that falls silent is removed and told so; one that is heard stays", async () => {
  const it = await world();
  await using w = it.world;
  for (let at = 0; at < 120; at += 5) {
    await it.step();
    await it.loud.beat();
  }
  assert.deepEqual(await it.names(), ["loud", "silent"], "not yet");
  for (let at = 0; at < 25; at += 5) await it.step();
  assert.deepEqual(await it.names(), ["loud"]);
  assert.equal((await it.silent.beat()).status, 410);
  const records = await w.store.auditRecords(w.user.accountId, { after: 0, limit: 100 });
  const told = records.filter(({ action }) => action === "node.expire");
  assert.deepEqual(told.map(({ subject, actor }) => [subject, actor]), [
    [it.silent.id, "system"],
  ]);
});

Deno.test("CLK-2: a clock that jumps, or a control plane that slept, removes nobody at once", async () => {
  const it = await world();
  await using _ = it.world;
  await it.step();
  it.clock.advance(3_600_000);
  for (let at = 0; at < 100; at += 5) await it.step();
  assert.deepEqual(await it.names(), ["loud", "silent"], "they could not be heard");
  await it.loud.beat();
  for (let at = 0; at < 60; at += 5) await it.step();
  assert.deepEqual(await it.names(), ["loud"]);
});
