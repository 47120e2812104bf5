/** agent.toml, and the flags that it decides about, on real agents. */
import assert from "node:assert/strict";
import { type Done, startFleet, step } from "../fixtures/fleet.ts";

/** `openbox: CODE: not started: MESSAGE` and its hint. */
function assertRefused({ code, err }: Done, what: string, message: RegExp): void {
  assert.equal(code, 255, err);
  assert.match(err, new RegExp(`^openbox: ${what}: not started: `));
  assert.match(err, message);
}

Deno.test("an agent's settings, end to end", async (t) => {
  await using fleet = await startFleet({
    agents: [
      {
        name: "open",
        settings: 'path = "/opt/ours:/usr/bin:/bin"\nmounts = ["/srv"]\nnets = ["none"]\n',
      },
      { name: "closed", settings: 'isolations = ["docker"]\n[caps]\npids = 100\n' },
    ],
  });
  const on = (node: string, ...args: string[]) => fleet.call(["-n", node, ...args]);

  await step(t, "RUN-18: path is the PATH of commands and of sessions", async () => {
    assert.equal((await on("open", "echo $PATH")).out, "/opt/ours:/usr/bin:/bin\n");
    assert.equal((await on("open", "-s", "a", "echo $PATH")).out, "/opt/ours:/usr/bin:/bin\n");
  });

  await step(
    t,
    "ISO-3: an isolation that the owner does not allow is refused, in a session too",
    async () => {
      const file = `${fleet.scratch}/ran`;
      assertRefused(
        await on("closed", "touch", file),
        "isolation_not_allowed",
        /does not allow native commands: docker\n {2}hint: .*isolations in .*\/agent\/agent\.toml/,
      );
      assertRefused(
        await on("closed", "-s", "b", "touch", file),
        "isolation_not_allowed",
        /native/,
      );
      assertRefused(
        await on("open", "--nspawn", "/no/such", "touch", file),
        "isolation_(unavailable|not_allowed)",
        /\/no\/such/,
      );
      await assert.rejects(Deno.stat(file));
    },
  );

  await step(t, "ISO-7, ISO-8: what native cannot hold is refused before it is sent", async () => {
    const cases: [string[], RegExp][] = [
      [["--mount", "/srv"], /--mount cannot be held in native/],
      [["--net", "none"], /--net cannot be held in native/],
      [["--docker", "debian", "--user", "root"], /--user is for native commands/],
    ];
    for (const [flags, message] of cases) {
      assertRefused(await on("open", ...flags, "true"), "limit_unsupported", message);
    }
  });
});

Deno.test("an agent whose settings cannot be read does not start, and says the line", async () => {
  await using fleet = await startFleet({ agents: [] });
  await assert.rejects(
    fleet.addAgent({ settings: "gpus = true\nisolation = []\n" }),
    /bad_setting: .*\/agent\/agent\.toml:2: there is no key isolation\n/,
  );
});
