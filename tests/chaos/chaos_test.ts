/** Chaos in short: each nemesis strikes twice; `deno task chaos` does it a hundred times. */
import assert from "node:assert/strict";
import { requireComponent } from "../fixtures/component.ts";
import { NEMESES } from "./nemeses.ts";
import { runRounds } from "./rounds.ts";

for (const nemesis of NEMESES) {
  Deno.test(
    `${nemesis.cases}: ${nemesis.name} breaks none of the invariants I1 to I10`,
    { ...requireComponent(...nemesis.needs ?? []) },
    async () => {
      const { violations, acknowledged, logs } = await runRounds(nemesis, { rounds: 2 });
      assert.deepEqual(violations, [], logs);
      assert.ok(acknowledged > 0, "there was load");
    },
  );
}
