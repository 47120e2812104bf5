/** The agent as a whole against a real control plane, both in this process; time is the test's. */
import assert from "node:assert/strict";
import type { AgentFlags } from "../../../src/agent/settings.ts";
import { readAgentSettings } from "../../../src/agent/settings.ts";
import { type RunningAgent, startAgent } from "../../../src/agent/start.ts";
import { readNodeState } from "../../../src/agent/state.ts";
import { startLog } from "../../../src/log.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { fakeBackend } from "../../fakes/isolation.ts";
import { fakeHost } from "../../fakes/host.ts";
import { eventually } from "../../fixtures/processes.ts";
import { startWorld, type World as ControlWorld } from "../control/world.ts";

interface World {
  readonly control: ControlWorld;
  readonly clock: FakeClock;
  readonly statePath: string;
  enrollToken(): Promise<string>;
  start(flags?: AgentFlags): Promise<RunningAgent>;
  /** Lines of the agent's log. */
  logged(): Promise<string>;
  /** Of the node, as the control plane shows it; undefined where there is none. */
  // deno-lint-ignore no-explicit-any -- a test reads what it expects
  node(id: string): Promise<any>;
}

function test(title: string, body: (world: World) => Promise<void>): void {
  // the start asks a login shell for its PATH; what a fetch keeps open is the runtime's
  Deno.test({ name: title, sanitizeResources: false }, async () => {
    const home = await Deno.makeTempDir();
    const clock = new FakeClock(Date.now());
    const host = fakeHost({ clock, env: { OPENBOX_HOME: home } });
    {
      await using log = await startLog(host, { format: "text" });
      await using control = await startWorld();
      await body({
        control,
        clock,
        statePath: `${home}/agent/agent.json`,
        async logged() {
          await log.flush();
          return host.err.text();
        },
        async enrollToken() {
          const options = { token: control.token, body: { tags: ["gpu"] } };
          return (await control.call("POST", "/v1/enroll-tokens", options)).body.token;
        },
        async start(flags = {}) {
          const settings = await readAgentSettings({ addr: "127.0.0.1:0", ...flags }, host);
          const backend = { ...fakeBackend({}), [Symbol.asyncDispose]: () => Promise.resolve() };
          return await startAgent(settings, host, { backend });
        },
        async node(id) {
          const reply = await control.call("GET", `/v1/nodes/${id}`, { token: control.token });
          return reply.status === 200 ? reply.body : undefined;
        },
      });
    }
    await Deno.remove(home, { recursive: true });
  });
}

test("a machine enrolls, is online at once, and starts again with the same line as the same node", async (world) => {
  const flags = {
    server: world.control.url,
    token: await world.enrollToken(),
    name: "mini",
    tag: ["gpu"],
  };
  let nodeId: string;
  {
    await using agent = await world.start(flags);
    nodeId = agent.nodeId;
    const node = await eventually("the node is online", async () => {
      const node = await world.node(nodeId);
      return node?.online && node;
    });
    assert.deepEqual([node.name, node.tags, node.addr], ["mini", ["gpu"], agent.addr]);
  }
  const before = await world.logged();
  {
    await using agent = await world.start(flags);
    assert.equal(agent.nodeId, nodeId);
  }
  assert.doesNotMatch((await world.logged()).slice(before.length), /ignored/);
});

test("what an enrolled agent is told otherwise is ignored, and said", async (world) => {
  const { control } = world;
  {
    await using _ = await world.start({
      server: control.url,
      token: await world.enrollToken(),
      name: "mini",
    });
  }
  await using agent = await world.start({
    server: "http://127.0.0.1:1",
    token: await world.enrollToken(),
    name: "other",
    tag: ["x"],
  });
  assert.equal(agent.name, "mini");
  const notes = await eventually("each is said", async () => {
    const lines = (await world.logged()).split("\n").filter((line) => line.includes("ignored"));
    return lines.length >= 4 && lines;
  });
  assert.equal(notes.length, 4, notes.join("\n"));
});

test("CFG-4: without a token, with a state that is damaged, or on an address that is taken nothing is spent", async (world) => {
  const { control, statePath } = world;
  await assert.rejects(world.start({ server: control.url }), {
    code: "bad_setting",
    hint: /node token/,
  });
  await assert.rejects(world.start({ token: await world.enrollToken() }), {
    code: "bad_setting",
    hint: /--server/,
  });
  const flags = { server: control.url, token: await world.enrollToken() };
  const taken = control.url.slice("http://".length);
  await assert.rejects(world.start({ ...flags, addr: taken }), { code: "conflict" });

  await Deno.mkdir(statePath.replace("/agent.json", ""), { recursive: true, mode: 0o700 });
  await Deno.writeTextFile(statePath, "{", { mode: 0o600 });
  await assert.rejects(world.start(flags), { code: "bad_file" });
  assert.equal(await Deno.readTextFile(statePath), "{");
  await Deno.remove(statePath);
  await Deno.chmod(statePath.replace("/agent.json", ""), 0o755);
  await assert.rejects(world.start(flags), { code: "unsafe_file" });
  await Deno.chmod(statePath.replace("/agent.json", ""), 0o700);
  await using agent = await world.start(flags);
  assert.match(agent.nodeId, /^node_/, "the token was still good");
});

test("tags beyond the token's are left out, and said", async (world) => {
  const token = await world.enrollToken();
  await using agent = await world.start({ server: world.control.url, token, tag: ["gpu", "prod"] });
  assert.deepEqual((await world.node(agent.nodeId)).tags, ["gpu"]);
  assert.match(await world.logged(), /does not allow the tags "?prod/);
});

test("ENR-7: a node that is removed ends at its next beat, and enrolls anew only with another token", async (world) => {
  const { control, clock } = world;
  const token = await world.enrollToken(), flags = { server: control.url, token };
  let removed: string;
  {
    await using agent = await world.start(flags);
    removed = agent.nodeId;
    await eventually("it has beaten", () => clock.sleeping > 0);
    assert.equal(
      (await control.call("DELETE", `/v1/nodes/${removed}`, { token: control.token })).status,
      204,
    );
    clock.advance(33_000);
    await assert.rejects(agent.ended, { code: "node_deleted" });
    assert.ok((await readNodeState(world.statePath))?.removed);
  }
  for (const again of [flags, { server: control.url }]) {
    await assert.rejects(world.start(again), { code: "node_deleted", hint: /node token/ });
  }
  await using agent = await world.start({ ...flags, token: await world.enrollToken() });
  assert.notEqual(agent.nodeId, removed);
  assert.ok(!(await readNodeState(world.statePath))?.removed);
});

test("an enrolled agent serves also while its control plane is away", async (world) => {
  const { control, clock } = world;
  {
    await using _ = await world.start({ server: control.url, token: await world.enrollToken() });
  }
  const state = JSON.parse(await Deno.readTextFile(world.statePath));
  const elsewhere = JSON.stringify({ ...state, server: "http://127.0.0.1:9" });
  await Deno.writeTextFile(world.statePath, elsewhere);
  await using agent = await world.start();
  await eventually(
    "the beat failed",
    async () => (await world.logged()).includes("heartbeat failed"),
  );
  assert.ok(clock.sleeping > 0);
  const [hostname, port] = agent.addr.split(":");
  const conn = await Deno.connect({ hostname, port: Number(port) });
  const buffer = new Uint8Array(64);
  assert.ok((await conn.read(buffer))! > 0);
  assert.match(new TextDecoder().decode(buffer), /^SSH-2\.0-/);
  conn.close();
});
