import assert from "node:assert/strict";
import { type Checkout, createCheckout, FAKE_DENO, type Ran } from "./checkout.ts";

/** A checkout in which a build takes no time. */
async function testCheckout(build = "mkdir -p dist && : >dist/openbox"): Promise<Checkout> {
  const checkout = await createCheckout();
  await checkout.program("deno", FAKE_DENO);
  await Deno.writeTextFile(`${checkout.path}/scripts/build`, `#!/bin/sh\n${build}\n`);
  return checkout;
}

/** What scripts/test, with one path, makes of a runner that prints and ends so. */
async function afterRunner(prints: string, ends: number): Promise<Ran> {
  await using checkout = await testCheckout();
  const env = { PRINTS: prints, ENDS: `${ends}` };
  return await checkout.run("scripts/test", [checkout.path], { env });
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

/** The words of each call of the runner. */
async function called(checkout: Checkout, args: string[]): Promise<string[][]> {
  await checkout.program(
    "deno",
    FAKE_DENO.replace(
      "test-told) ",
      `test-told) printf '%s\\0' "$OPENBOX_TEST_PROGRAM" "$OPENBOX_TEST_DAEMON" "$@"; echo; `,
    ),
  );
  const env = { PRINTS: "ok | 3 passed | 0 failed | 1 ignored (1s)\\n", ENDS: "0" };
  const { stdout } = await checkout.run("scripts/test", args, { env });
  return stdout.split("\n").filter((line) => line.includes("\0")).map((line) =>
    line.split("\0").slice(0, -1)
  );
}
const program = (words: string[] | undefined) => words![0]!.replace(/^.*\/check out\//, "");

Deno.test("without a path all tests run, those of tests/e2e with what is built; flags are handed on", async () => {
  await using checkout = await testCheckout();
  const [source, built, through, ...more] = await called(checkout, ["--filter", "ENR 1"]);
  assert.deepEqual(more, []);
  assert.equal(program(source), "");
  assert.deepEqual(source!.slice(-4), [
    "--filter",
    "ENR 1",
    "--ignore=tests/bench,tests/e2e",
    "tests",
  ]);
  assert.equal(program(built), "dist/openbox");
  assert.deepEqual(built!.slice(-3), ["--filter", "ENR 1", "tests/e2e"]);
  assert.deepEqual([source![1], built![1]], ["", ""]);
  assert.deepEqual([program(through), through![1]], ["dist/openbox", "1"], "through a daemon");
});

Deno.test("with a path only it runs, from source or with what is built", async () => {
  await using checkout = await testCheckout();
  const [source, ...more] = await called(checkout, [checkout.path]);
  assert.deepEqual([program(source), source!.at(-1), more.length], ["", checkout.path, 0]);
  const [built, ...others] = await called(checkout, ["--built", checkout.path]);
  assert.deepEqual([program(built), built!.at(-1), others.length], [
    "dist/openbox",
    checkout.path,
    0,
  ]);
});

Deno.test("the last line adds all of it up, and fails with the worst", async () => {
  await using checkout = await testCheckout();
  const env = { PRINTS: "ok | 3 passed | 0 failed | 1 ignored (1s)\\n", ENDS: "0" };
  const ran = await checkout.run("scripts/test", [], { env });
  assert.deepEqual([closing(ran), ran.code], ["9 passed, 0 failed, 3 skipped", 0]);
  await using broken = await testCheckout("echo no; exit 3");
  const failed = await broken.run("scripts/test", [], { env });
  assert.deepEqual([closing(failed), failed.code], ["3 passed, 2 failed, 1 skipped", 1]);
});

Deno.test("a soak counts as one test, and only where it is asked for", async () => {
  await using checkout = await testCheckout();
  const env = { PRINTS: "ok | 3 passed | 0 failed (1s)\\n", ENDS: "0" };
  const withSoak = async (ends: number) => {
    await Deno.writeTextFile(`${checkout.path}/scripts/soak`, `echo "soaked $1"; exit ${ends}\n`);
    const ran = await checkout.run("scripts/test", ["--soak"], { env });
    assert.match(ran.stdout, /^soaked 3$/m);
    return [closing(ran), ran.code];
  };
  assert.deepEqual(await withSoak(0), ["10 passed, 0 failed", 0]);
  assert.deepEqual(await withSoak(1), ["9 passed, 1 failed", 1]);
  const without = await checkout.run("scripts/test", [], { env });
  assert.equal(closing(without), "9 passed, 0 failed");
});

Deno.test("the executable is built again when a source is newer, and not otherwise", async () => {
  await using checkout = await testCheckout("mkdir -p dist && echo built >>dist/openbox");
  const env = { PRINTS: "", ENDS: "0" };
  const builds = async () => {
    await checkout.run("scripts/test", ["--built", checkout.path], { env });
    return (await Deno.readTextFile(`${checkout.path}/dist/openbox`)).split("\n").length - 1;
  };
  assert.equal(await builds(), 1);
  assert.equal(await builds(), 1);
  const later = Date.now() / 1000 + 5;
  await Deno.utime(`${checkout.path}/deno.lock`, later, later);
  assert.equal(await builds(), 2);
});
