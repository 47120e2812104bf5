import assert from "node:assert/strict";
import fc from "fast-check";
import { decide, type Rights } from "../../../src/access/decide.ts";
import { parseGrant } from "../../../src/access/grant.ts";
import { reachOf } from "../../../src/access/reach.ts";

const GRANTS = [
  "read",
  "run",
  "admin",
  "run:tag=a",
  "run:tag=b,tag=c",
  "run:node=n1",
  "run:node=mini,tag=a",
  "run:tag=a,isolation=docker",
  "run:session=no",
];
const rights: fc.Arbitrary<Rights> = fc.record({
  rules: fc.array(
    fc.constantFrom(...GRANTS).map((text) => ({ id: "r", name: "r", grant: parseGrant(text) })),
    { maxLength: 4 },
  ),
  scopes: fc.oneof(
    fc.constant("all" as const),
    fc.array(fc.constantFrom(...GRANTS).map(parseGrant), { maxLength: 4 }),
  ),
});
const node = fc.record({
  id: fc.constantFrom("n1", "n2", "n3"),
  name: fc.constantFrom("mini", "maxi"),
  tags: fc.subarray(["a", "b", "c"]),
});

Deno.test("nodes of one reach are judged alike", () => {
  fc.assert(
    fc.property(rights, node, node, fc.boolean(), (who, one, other, session) => {
      const reach = reachOf(who);
      if (reach(one) !== reach(other)) return;
      const allowed = (node: typeof one) =>
        decide(who, { verb: "run", node, isolation: undefined, session, login: undefined }).allowed;
      assert.equal(allowed(one), allowed(other));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("RES-12: with as many rules and scopes as there may be, ten thousand nodes are no long work", () => {
  const grants = Array.from({ length: 64 }, (_, i) => parseGrant(`run:tag=t${i},session=no`));
  const who: Rights = {
    rules: grants.map((grant, i) => ({ id: `r${i}`, name: `r${i}`, grant })),
    scopes: grants,
  };
  const times = Array.from({ length: 5 }, () => {
    const reach = reachOf(who), started = performance.now();
    for (let i = 0; i < 10_000; i++) reach({ id: `n${i}`, name: "n", tags: ["x", `t${i % 64}`] });
    return performance.now() - started;
  });
  assert.ok(Math.min(...times) < 500, `${times}`); // 30 ms where nothing else runs
});
