import assert from "node:assert/strict";
import { createCheckout, FAKE_DENO, type Ran } from "./checkout.ts";

/** What scripts/test makes of a runner that prints and ends so. */
async function afterRunner(prints: string, ends: number, args: string[] = []): Promise<Ran> {
  await using checkout = await createCheckout();
  await checkout.program("deno", FAKE_DENO);
  return await checkout.run("scripts/test", args, { env: { PRINTS: prints, ENDS: `${ends}` } });
}
const closing = ({ stdout }: Ran) => stdout.trimEnd().split("\n").at(-1);

Deno.test("the last line counts what the runner counted, colours or not", async () => {
  const ran = await afterRunner(
    "a ... ok\\n\\n\\033[0m\\033[32mok\\033[0m | 12 passed (3 steps) | 0 failed \\033[0m(1s)\\n\\n",
    0,
  );
  assert.deepEqual([closing(ran), ran.code], ["12 passed, 0 failed", 0]);
});

Deno.test("skipped tests are told, failed ones end with the runner's code", async () => {
  const ran = await afterRunner(
    "FAILED | 1 passed | 2 failed (1 step) | 3 ignored (8ms)\\n\\nerror: Test failed\\n",
    1,
  );
  assert.deepEqual([closing(ran), ran.code], ["1 passed, 2 failed, 3 skipped", 1]);
});

Deno.test("a runner that fails without a failed test is a failure", async () => {
  const types = await afterRunner("error: Type checking failed.\\n", 1);
  assert.deepEqual([closing(types), types.code], ["0 passed, 1 failed", 1]);
  const crashed = await afterRunner("ok | 7 passed | 0 failed (1s)\\n", 133);
  assert.deepEqual([closing(crashed), crashed.code], ["7 passed, 1 failed", 133]);
});

Deno.test("what a test prints is not taken for the runner's count", async () => {
  const ran = await afterRunner("ok | 99 passed | 0 failed\\nok | 1 passed | 0 failed (1s)\\n", 0);
  assert.equal(closing(ran), "1 passed, 0 failed");
});

Deno.test("without a path all tests run, with one only it, flags are handed on", async () => {
  await using checkout = await createCheckout();
  await checkout.program("deno", FAKE_DENO);
  const called = async (args: string[]) => {
    const { stdout } = await checkout.run("scripts/test", args, { env: { PRINTS: "" } });
    return stdout.split("\0").slice(4, -1);
  };
  assert.deepEqual((await called(["--filter", "ENR 1"])).slice(-4), [
    "--filter",
    "ENR 1",
    "--ignore=tests/bench",
    "tests",
  ]);
  assert.deepEqual((await called([checkout.path])).slice(-1), [checkout.path]);
});
