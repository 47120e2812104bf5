/** Connections that break or fall silent: docs/fidelity.md RUN-11, RUN-15, RUN-22. It takes a minute: silence is told by waiting. */
import assert from "node:assert/strict";
import { text } from "../../src/bytes.ts";
import { requireComponent } from "../fixtures/component.ts";
import { startFleet } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";
import { afterwards, around, openTerminal, prompted } from "../fixtures/terminal.ts";

Deno.test("RUN-22: an agent killed mid-run: lost at once, 255, never tried again", async () => {
  await using fleet = await startFleet();
  const ran = `${fleet.scratch}/ran`;
  const child = fleet.spawn(["-t", "box", `echo $$ >> ${ran}; sleep 60`], { stdin: "null" });
  const [pid] = await pidsIn(ran, 1);
  fleet.agents[0]!.kill("SIGKILL");
  const { code, stderr } = await child.output();
  assert.equal(code, 255);
  assert.match(text(stderr), /^openbox: lost: The connection to box is lost while the command ran/);
  assert.equal((await pidsIn(ran, 1)).length, 1);
  await eventually("the watchdog ended the command", () => !isAlive(pid!), 2000);
});

Deno.test("RUN-22, RUN-11, RUN-15: silence on either side, and silence of a command", {
  ...requireComponent("script"),
}, async () => {
  await using fleet = await startFleet({
    agents: [{ name: "box", tags: ["box"] }, { name: "frozen", tags: ["frozen"] }],
  });
  const frozenAgent = async () => {
    await using terminal = openTerminal(around("openbox -t frozen"), fleet.env);
    await prompted(terminal);
    const child = fleet.spawn(["-t", "frozen", "--json", "echo ready; sleep 300"], {
      stdin: "null",
    });
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    assert.match((await lines.read()).value!, /ready/);
    fleet.agents[1]!.kill("SIGSTOP");
    const from = Date.now();
    let last = "";
    for (let part; !(part = await lines.read()).done;) last += part.value;
    const { code } = await child.status;
    assert(Date.now() - from < 60_000, `${Date.now() - from} ms`);
    const end = JSON.parse(last);
    assert.deepEqual([code, end.outcome, end.error.code], [255, "lost", "lost"]);
    assert.match(await new Response(child.stderr).text(), /^openbox: lost: /);
    assert.match(await afterwards(terminal), /^code=255\r\nas before/);
    assert.match(terminal.seen(), /openbox: lost: The connection to frozen is lost/);
    fleet.agents[1]!.kill("SIGCONT");
  };
  const frozenCaller = async () => {
    const pids = `${fleet.scratch}/frozen`;
    const child = fleet.spawn(["-t", "box", `echo $$ > ${pids}; sleep 300`], { stdin: "null" });
    const [pid] = await pidsIn(pids, 1);
    // a node hears the daemon, where there is one: a CLI that is suspended behind it only stops reading
    (fleet.daemon ?? child).kill("SIGSTOP");
    await eventually("the tree of a silent caller is gone", () => !isAlive(pid!), 60_000);
    fleet.daemon?.kill("SIGCONT");
    child.kill("SIGKILL");
    await child.output();
  };
  const silentCommand = async () => {
    const { code, out } = await fleet.call(["-t", "box", "sleep 20; echo awake"]);
    assert.deepEqual([code, out], [0, "awake\n"]);
  };
  const others = Promise.all([frozenAgent(), silentCommand()]);
  if (fleet.daemon) await others; // they would freeze with it
  await Promise.all([others, frozenCaller()]);
});
