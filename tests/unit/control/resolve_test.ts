import assert from "node:assert/strict";
import { isOnline, refusal, resolve } from "../../../src/control/resolve.ts";
import type { Candidate, Target } from "../../../src/store/store.ts";

const NOW = Date.UTC(2026, 0, 1, 12), TAG: Target = { kind: "tag", tag: "gpu" };
const node = (name: string, ago: number | undefined, id = `node_${name}`): Candidate => ({
  id,
  name,
  addr: "10.0.0.4:7600",
  hostKey: "key",
  lastSeenAt: ago === undefined ? 0 : NOW - ago,
});
/** One that does not know the CA of now is named so here. */
const READY = ({ name }: Candidate) => !name.startsWith("behind");
const found = (target: Target, ...nodes: Candidate[]) => {
  const resolution = resolve(target, nodes, NOW, READY);
  return resolution.kind === "found" ? resolution.node.id : resolution.kind;
};
const refused = (
  target: Target,
  nodes: Candidate[],
  all: Candidate[] = nodes,
  tags = ["a", "b"],
) => {
  const resolution = resolve(target, nodes, NOW, READY);
  assert.notEqual(resolution.kind, "found");
  if (resolution.kind === "found") throw new Error();
  const { code, message, hint } = refusal(target, resolution, { tags, nodes: all }, NOW);
  return { code, message, hint };
};

Deno.test("a node is online for 90 seconds after it was heard", () => {
  assert.ok(isOnline(NOW - 90_000, NOW));
  assert.ok(!isOnline(NOW - 90_001, NOW));
  assert.ok(isOnline(NOW + 60_000, NOW), "a clock that was set back");
});

Deno.test("online goes before offline, then the name decides, then the id, whatever the order", () => {
  const nodes = [node("c", 5), node("a", 100_000), node("b", 80_000), node("b", 1, "node_a2")];
  assert.equal(found(TAG, ...nodes), "node_a2");
  assert.equal(found(TAG, ...nodes.toReversed()), "node_a2");
  assert.equal(found(TAG, node("b", 0), node("B", 0)), "node_B");
});

Deno.test("a node is found by its id, or by a name that only it has", () => {
  const target: Target = { kind: "node", node: "mini" };
  assert.equal(found(target, node("mini", 0)), "node_mini");
  assert.equal(found(target, node("x", 0, "mini"), node("mini", 0)), "mini");
  assert.equal(found(target, node("mini", 0), node("mini", 0, "node_2")), "several");
  assert.equal(found(target), "none");
});

Deno.test("no target is enough where there is one node", () => {
  assert.equal(found({ kind: "any" }, node("mini", 0)), "node_mini");
  assert.equal(found({ kind: "any" }, node("a", 0), node("b", 0)), "several");
});

Deno.test("nothing matches: the text that scripts know, and what there is", () => {
  const others = [node("mini", 0), node("maxi", 0)];
  assert.deepEqual(refused(TAG, [], others), {
    code: "node_not_found",
    message: `no node matches tag "gpu"`,
    hint: "tags: a, b",
  });
  assert.equal(refused(TAG, [], others, []).hint, "no node has a tag");
  assert.match(refused(TAG, []).hint!, /openbox node token/);
  assert.deepEqual(refused({ kind: "node", node: "x" }, [], others), {
    code: "node_not_found",
    message: `no node matches "x"`,
    hint: "nodes: mini, maxi",
  });
  assert.equal(refused({ kind: "any" }, []).message, "no node is enrolled");
});

Deno.test("an ambiguous name is refused with the ids", () => {
  const twins = [node("mini", 0, "node_2"), node("mini", undefined, "node_1")];
  assert.deepEqual(refused({ kind: "node", node: "mini" }, twins), {
    code: "ambiguous",
    message: `2 nodes have the name "mini"`,
    hint: "name one by its id: node_1, node_2",
  });
});

Deno.test("no target with several nodes is refused with the list", () => {
  const { code, hint } = refused({ kind: "any" }, [node("b", 0), node("a", 0)]);
  assert.equal(code, "target_required");
  assert.equal(hint, "nodes: a (node_a), b (node_b)");
});

Deno.test("all offline: since when", () => {
  const { code, message } = refused(TAG, [node("b", undefined), node("a", 3 * 3600_000)]);
  assert.equal(code, "node_offline");
  assert.equal(
    message,
    "All 2 nodes with the tag are offline: a (since 2026-01-01T09:00:00Z, 3 h ago), b (never heard from)",
  );
  const one = refused({ kind: "node", node: "a" }, [node("a", 91_000)]);
  assert.equal(one.message, "The node is offline: a (since 2026-01-01T11:58:29Z, 91 s ago)");
});

Deno.test("a list of many nodes stays short", () => {
  const nodes = Array.from({ length: 500 }, (_, i) => node(`n${i}`, 0));
  const { hint } = refused({ kind: "any" }, nodes);
  assert.match(hint!, /and 480 more$/);
});

Deno.test("ROT-1: a node that has not followed the CA's rotation counts as offline, and it is said why", () => {
  assert.equal(found(TAG, node("behind", 0), node("c", 0)), "node_c");
  const { code, message, hint } = refused(TAG, [node("behind", 0)]);
  assert.equal(code, "node_offline");
  assert.match(message, /behind \(it has yet to follow the CA's rotation\)/);
  assert.match(hint!, /heartbeat/);
});
