import assert from "node:assert/strict";
import { takeSupervisor } from "../../src/supervisor.ts";
import { fakeHost } from "../fakes/host.ts";
import { eventually } from "../fixtures/processes.ts";
import { startServiceManager } from "../fixtures/service_manager.ts";

const DIRECTORY = { directory: undefined };
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const answering = () => Promise.resolve();

for (const abstract of [false, true]) {
  Deno.test(`the service manager at ${abstract ? "a name without a file" : "a socket"} hears when it is ready, that it lives, and that it ends`, async () => {
    await using manager = await startServiceManager({ abstract });
    const host = fakeHost({
      env: {
        NOTIFY_SOCKET: manager.address,
        WATCHDOG_USEC: "100000",
        WATCHDOG_PID: String(Deno.pid),
      },
    });
    const supervisor = takeSupervisor(host, DIRECTORY);
    for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) {
      assert.equal(host.env(name), undefined, `${name} is left for commands`);
    }
    const supervised = await supervisor.ready(answering);
    await eventually("signs of life", () => manager.heard.length > 3);
    await supervised[Symbol.asyncDispose]();
    await supervised[Symbol.asyncDispose]();
    await eventually("the end", () => manager.heard.includes("STOPPING=1"));
    const [first, ...others] = manager.heard, last = others.pop();
    assert.deepEqual([first, last], ["READY=1", "STOPPING=1"]);
    assert.deepEqual([...new Set(others)], ["WATCHDOG=1"]);
  });
}

Deno.test("there is no sign of life while it does not answer, and there is one when it does again", async () => {
  await using manager = await startServiceManager();
  const env = { NOTIFY_SOCKET: manager.address, WATCHDOG_USEC: "80000" };
  let looks = 0, hangs = true;
  await using _supervised = await takeSupervisor(fakeHost({ env }), DIRECTORY).ready(
    ({ signal }) => {
      looks++;
      return hangs
        ? new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
        : Promise.resolve();
    },
  );
  await eventually("four looks", () => looks >= 4);
  assert.deepEqual(manager.heard, ["READY=1"]);
  hangs = false;
  await eventually("a sign of life", () => manager.heard.includes("WATCHDOG=1"));
});

Deno.test("a watchdog that is meant for another process gets nothing, and one without a time neither", async () => {
  const watchdogs = [{ WATCHDOG_USEC: "1000", WATCHDOG_PID: "1" }, { WATCHDOG_USEC: "0" }];
  for (const watchdog of watchdogs as Record<string, string>[]) {
    await using manager = await startServiceManager();
    const host = fakeHost({ env: { NOTIFY_SOCKET: manager.address, ...watchdog } });
    const supervised = await takeSupervisor(host, DIRECTORY).ready(() =>
      Promise.reject(new Error("nobody asks"))
    );
    await supervised[Symbol.asyncDispose]();
    await eventually("the end", () => manager.heard.includes("STOPPING=1"));
    assert.deepEqual(manager.heard, ["READY=1", "STOPPING=1"]);
  }
});

Deno.test("without a service manager, or with one that is gone, a service runs as it does", async () => {
  const gone = { NOTIFY_SOCKET: "/nowhere/notify", WATCHDOG_USEC: "1000" };
  for (const env of [{}, gone] as Record<string, string>[]) {
    await using _supervised = await takeSupervisor(fakeHost({ env }), DIRECTORY).ready(answering);
  }
});

Deno.test("a process that may write only its directory and the manager's socket can tell it", async () => {
  await using manager = await startServiceManager();
  const directory = await Deno.makeTempDir({ prefix: "openbox-supervised-" });
  const source = new URL("../../src/supervisor.ts", import.meta.url);
  const code = `import { takeSupervisor } from ${JSON.stringify(source.href)};
    const takeEnv = (name) => name === "NOTIFY_SOCKET" ? ${
    JSON.stringify(manager.address)
  } : undefined;
    const supervisor = takeSupervisor({ takeEnv }, { directory: ${JSON.stringify(directory)} });
    await using supervised = await supervisor.ready(() => Promise.resolve());`;
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--no-check", "--config", CONFIG, "--allow-net"],
      `--allow-read=${directory}`,
      `--allow-write=${directory},${manager.address}`,
      `data:application/typescript,${encodeURIComponent(code)}`,
    ],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  await eventually("both", () => manager.heard.length === 2);
  assert.deepEqual(manager.heard, ["READY=1", "STOPPING=1"]);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(directory)), [], "its own socket is gone");
  await Deno.remove(directory);
});
