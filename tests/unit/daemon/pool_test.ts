import assert from "node:assert/strict";
import type { DispatchAnswer } from "../../../src/api/dispatch.ts";
import type { RemoteRun } from "../../../src/client/exec.ts";
import type { Target } from "../../../src/client/target.ts";
import { Pool, type PoolOptions } from "../../../src/daemon/pool.ts";
import { OpenboxError } from "../../../src/errors.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { eventually } from "../../fixtures/processes.ts";
import { endWith, type FakeNode, startFakeNode } from "../client/fake_node.ts";

const NATIVE = { kind: "native" } as const;
const mac: Target = { tag: "mac", isolation: NATIVE };
const signal = AbortSignal.timeout(60_000);

/** A node on which a command ends at once, but one that waits. */
async function withPool(
  act: (pool: Pool, node: FakeNode & { dispatches: number }, clock: FakeClock) => Promise<void>,
  options?: PoolOptions,
) {
  await using node = await startFakeNode({
    async serve(request, channel) {
      if (request.command !== WAITS) return await endWith(channel, 0);
      await new Promise((resolve) => channel.closed.addEventListener("abort", resolve));
    },
  });
  const clock = new FakeClock(Date.now());
  const counted = Object.assign(node, { dispatches: 0 });
  const { change } = node;
  node.change = (answer, request) => {
    counted.dispatches++;
    return change(answer, request);
  };
  await using pool = new Pool({ ...node.deps, clock }, options);
  await act(pool, counted, clock);
}
const WAITS = btoa("wait");

let runs = 0;
const open = (pool: Pool, target = mac, line = "true"): Promise<RemoteRun> =>
  pool.open(target, { line, runId: `run_${++runs}` }, { signal });

async function run(pool: Pool, target = mac): Promise<string> {
  await using opened = await open(pool, target);
  const [end] = await Promise.all([opened.end, drain(opened.stdout), drain(opened.stderr)]);
  return end.outcome;
}
async function drain(source: RemoteRun["stdout"]): Promise<void> {
  while (await source.read());
}

Deno.test("commands of one key share a certificate and a connection", async () => {
  await withPool(async (pool, node) => {
    for (let i = 0; i < 5; i++) assert.equal(await run(pool), "exit");
    assert.deepEqual([node.dispatches, node.accepted.length, node.channels], [1, 1, 5]);
  });
});

Deno.test("20 at once are dispatched once, over one connection", async () => {
  await withPool(async (pool, node) => {
    const ends = await Promise.all(Array.from({ length: 20 }, () => run(pool)));
    assert.deepEqual(new Set(ends), new Set(["exit"]));
    assert.deepEqual([node.dispatches, node.accepted.length], [1, 1]);
  });
});

Deno.test("whatever a certificate binds makes another key", async () => {
  await withPool(async (pool, node) => {
    node.certify = (request) => request;
    const targets: Target[] = [
      mac,
      { ...mac, tag: "gpu" },
      { ...mac, node: "node_00000000000000aa" },
      { ...mac, session: "work" },
      { ...mac, isolation: { kind: "docker", image: "a" } },
      { ...mac, isolation: { kind: "docker", image: "b" } },
      { ...mac, login: "build" },
    ];
    for (const target of targets) await run(pool, target);
    for (const target of targets) await run(pool, target);
    assert.deepEqual([node.dispatches, node.accepted.length], [targets.length, targets.length]);
  });
});

Deno.test("an agent's limit on channels is not met: more runs get another connection, not another certificate", async () => {
  await withPool(async (pool, node) => {
    const opened = await Promise.all(Array.from({ length: 70 }, () => open(pool, mac, "wait")));
    assert.deepEqual([node.dispatches, node.accepted.length], [1, 2]);
    await Promise.all(opened.map((run) => run[Symbol.asyncDispose]()));
  });
});

Deno.test("a certificate past two thirds of its life is renewed beside what goes on; the old connection ends with its last run", async () => {
  await withPool(async (pool, node, clock) => {
    const long = await open(pool, mac, "wait");
    clock.advance(3.5 * 60_000); // of five minutes
    assert.equal(await run(pool), "exit", "with what is there");
    await eventually("renewed", () => node.accepted.length === 2);
    assert.equal(await run(pool), "exit");
    assert.deepEqual([node.dispatches, node.accepted.length], [2, 2]);
    assert.equal(node.accepted[0]!.destroyed, false);
    await long[Symbol.asyncDispose]();
    await eventually("the old one is closed", () => node.accepted[0]!.destroyed);
  });
});

Deno.test("a certificate that has ended is not used", async () => {
  await withPool(async (pool, node, clock) => {
    await run(pool);
    clock.advance(5 * 60_000);
    await run(pool);
    assert.equal(node.dispatches, 2);
    await eventually("the old one is closed", () => node.accepted[0]!.destroyed);
  });
});

Deno.test("a renewal that fails leaves the old one in use", async () => {
  await withPool(async (pool, node, clock) => {
    await run(pool);
    const { change } = node;
    node.change = () => {
      throw new OpenboxError("control_unreachable", "away");
    };
    clock.advance(3.5 * 60_000);
    assert.equal(await run(pool), "exit");
    assert.equal(await run(pool), "exit");
    node.change = change;
    assert.equal(await run(pool), "exit");
    await eventually("renewed", () => node.dispatches === 2);
  });
});

Deno.test("a connection that broke is dispatched anew, once and unseen", async () => {
  await withPool(async (pool, node) => {
    await run(pool);
    node.accepted[0]!.destroy();
    await eventually("it is known", () => pool.connections.length === 0);
    assert.equal(await run(pool), "exit");
    assert.equal(node.accepted.length, 2);
  });
});

Deno.test("a node that fell silent is dispatched anew after three seconds", async () => {
  await withPool(async (pool, node) => {
    await run(pool);
    node.accepted[0]!.pause(); // it reads nothing any more
    const from = performance.now();
    assert.equal(await run(pool), "exit");
    const took = performance.now() - from;
    assert(took > 2500 && took < 8000, `${took} ms`);
    assert.equal(node.dispatches, 2);
  }, { livelyMs: 0 });
});

Deno.test("a command after another finds its channel open; a request on it that is never answered is lost", async () => {
  await withPool(async (pool, node) => {
    await run(pool);
    // asked about: the connection, its channel and its request, and the channel ahead
    await eventually("one is open", () => node.judged === 4);
    assert.equal(await run(pool), "exit");
    assert.equal(node.channels, 2);
    await eventually("another one is open", () => node.judged === 6);
    await using opened = await open(pool, mac, "wait");
    node.accepted[0]!.destroy();
    const [end] = await Promise.all([opened.end, drain(opened.stdout), drain(opened.stderr)]);
    assert.equal(end.outcome, "lost");
    assert.equal(node.dispatches, 1);
  });
});

Deno.test("a control plane's refusal is told, and asked for once", async () => {
  await withPool(async (pool, node) => {
    let asked = 0;
    node.change = (): DispatchAnswer => {
      asked++;
      throw new OpenboxError("node_not_found", `no node matches tag "mac"`);
    };
    await assert.rejects(run(pool), { code: "node_not_found" });
    assert.equal(asked, 1);
  });
});

Deno.test("DMN-7: a run that was started is not tried again when its connection breaks: it is lost", async () => {
  await withPool(async (pool, node) => {
    await using opened = await open(pool, mac, "wait");
    await eventually("it runs", () => node.channels === 1);
    node.accepted[0]!.destroy();
    const [end] = await Promise.all([opened.end, drain(opened.stdout), drain(opened.stderr)]);
    assert.equal(end.outcome, "lost");
    assert.equal(node.channels, 1);
  });
});

Deno.test("that a session was bound is news once", async () => {
  await withPool(async (pool, node) => {
    const { change } = node;
    node.change = (answer, request) => change({ ...answer, session_created: true }, request);
    const session: Target = { session: "work", isolation: NATIVE };
    const bound: boolean[] = [];
    for (let i = 0; i < 2; i++) {
      await using opened = await open(pool, session);
      bound.push(opened.sessionBound);
    }
    assert.deepEqual(bound, [true, false]);
    pool.forget("work");
    await run(pool, session);
    assert.equal(node.dispatches, 2);
  });
});

Deno.test("a pool that is retired lets its runs end, and is asked no more", async () => {
  await withPool(async (pool, node) => {
    const long = await open(pool, mac, "wait");
    pool.retire();
    assert.equal(node.accepted[0]!.destroyed, false);
    await long[Symbol.asyncDispose]();
    await eventually("closed", () => node.accepted[0]!.destroyed);
  });
});
