/** A network that carries one direction only: security NET-3. It takes a minute: silence is told by waiting. */
import assert from "node:assert/strict";
import { startFleet } from "../fixtures/fleet.ts";
import { freePort } from "../fixtures/port.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";
import { startTcpProxy } from "../fixtures/tcp_proxy.ts";

Deno.test("NET-3: what is lost on the way there, or on the way back, is told as lost, and nothing stays", async () => {
  await using stack = new AsyncDisposableStack();
  const fleet = stack.use(await startFleet({ agents: [] }));
  const lose = async (way: "deaf" | "mute") => {
    const port = freePort();
    const proxy = stack.use(startTcpProxy(() => port));
    await fleet.addAgent({
      name: way,
      tags: [way],
      env: {
        OPENBOX_AGENT_ADDR: `127.0.0.1:${port}`,
        OPENBOX_ADVERTISE: `127.0.0.1:${proxy.port}`,
      },
    });
    const pids = `${fleet.scratch}/${way}`;
    const going = fleet.spawn(["-t", way, "--json", `echo $$ >${pids}; exec sleep 300`], {
      stdin: "null",
    });
    const told = going.output();
    const [pid] = await pidsIn(pids, 1);
    proxy.mode = way;
    const from = Date.now();

    // who comes now does not start, and knows that
    const late = await fleet.call(["-t", way, "--json", "true"]);
    const { outcome, error } = JSON.parse(late.out);
    assert.deepEqual([late.code, outcome, error.code], [255, "not_started", "node_timeout"]);
    assert(Date.now() - from < 20_000);

    const { code, stdout } = await told;
    const end = JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
    assert.deepEqual([code, end.outcome], [255, "lost"]);
    await eventually(`${way}: the command is gone`, () => !isAlive(pid!), 65_000);
    assert(Date.now() - from < 65_000, `${Date.now() - from} ms`);

    proxy.mode = "pass";
    assert.equal((await fleet.call(["-t", way, "echo back"])).out, "back\n");
  };
  const control = async () => {
    const proxy = stack.use(startTcpProxy(() => Number(new URL(fleet.url).port)));
    const env = { OPENBOX_SERVER: `http://127.0.0.1:${proxy.port}`, OPENBOX_TOKEN: fleet.token };
    for (const way of ["deaf", "mute"] as const) {
      proxy.mode = way;
      const from = Date.now();
      const { code, err } = await fleet.call(["whoami"], { env });
      assert.equal(code, 6, err);
      assert.match(err, /^openbox: control_unreachable: .* no answer within 10 s/);
      assert(Date.now() - from < 15_000);
    }
  };
  await Promise.all([lose("deaf"), lose("mute"), control()]);
});
