/** Many CLIs at once, and CLIs that are killed: security CFG-3, KIL-1. */
import assert from "node:assert/strict";
import { type Fleet, startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive } from "../fixtures/processes.ts";

const keyOf = async ({ home }: Fleet): Promise<string> =>
  JSON.parse(await Deno.readTextFile(`${home}/config.json`)).key_pem;

Deno.test("many CLIs of one user", async (t) => {
  await using fleet = await startFleet();

  await step(
    t,
    "CFG-3: 20 first runs at once all succeed, and keep one key for all to come",
    async () => {
      const before = JSON.parse(await Deno.readTextFile(`${fleet.home}/config.json`));
      assert.equal(before.key_pem, "");
      const done = await Promise.all(
        Array.from({ length: 20 }, (_, i) => fleet.call(["-t", "box", `echo ${i}`])),
      );
      assert.deepEqual(
        done.map(({ code, out, err }) => [code, out, err]),
        done.map((_, i) => [0, `${i}\n`, ""]),
      );
      const kept = await keyOf(fleet);
      assert.match(
        kept,
        /^-----BEGIN OPENSSH PRIVATE KEY-----\n[^]*\n-----END OPENSSH PRIVATE KEY-----\n$/,
      );
      const after = JSON.parse(await Deno.readTextFile(`${fleet.home}/config.json`));
      assert.deepEqual({ ...after, key_pem: "" }, before, "the login is as it was");
      const files = (await Array.fromAsync(Deno.readDir(fleet.home))).map(({ name }) => name);
      assert.deepEqual(files.filter((name) => name.startsWith("config.json")), ["config.json"]);
      assert.equal((await fleet.call(["-t", "box", "true"])).code, 0);
      assert.equal(await keyOf(fleet), kept);
    },
  );

  await step(
    t,
    "KIL-1: of 20 CLIs killed -9 at random moments nothing is left on the node",
    async () => {
      const started = `${fleet.scratch}/started`;
      await Deno.mkdir(started);
      for (let round = 0; round < 20; round += 5) {
        await Promise.all(Array.from({ length: 5 }, async (_, i) => {
          const line = `trap '' HUP TERM; touch ${started}/$$; sleep 600 & wait; sleep 600`;
          const child = fleet.spawn(["-t", "box", line], { stdin: "null" });
          const ended = child.output();
          // two of five while they run, the others wherever they are
          const count = () => [...Deno.readDirSync(started)].length;
          if (i < 2) await eventually("one runs", () => count() > round / 5, 15_000);
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 800));
          child.kill("SIGKILL");
          await ended;
        }));
      }
      const pids = () => [...Deno.readDirSync(started)].map(({ name }) => Number(name));
      assert(pids().length >= 4, "some of them ran");
      await eventually("all are gone", () => !pids().some(isAlive), 10_000);
      const { code, out } = await fleet.call(["-t", "box", "echo on"]);
      assert.deepEqual([code, out], [0, "on\n"]);
    },
  );
});
