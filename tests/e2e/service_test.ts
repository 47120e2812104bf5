/** openbox as services of a real systemd, on a machine that it has booted. */
import assert from "node:assert/strict";
import { ALICE, type Booted, bootMachine, type RunOptions } from "../fixtures/booted.ts";
import { requireComponent } from "../fixtures/component.ts";
import { step } from "../fixtures/fleet.ts";
import { eventually } from "../fixtures/processes.ts";

const SERVER = "http://127.0.0.1:8080";
const onLinux = requireComponent(
  "linux-root",
  "systemd-nspawn",
  "systemctl",
  "systemd-analyze",
  "dbus-daemon",
  "nsenter",
  "setpriv",
);

/** Runs openbox and demands that it succeeds. */
async function must(machine: Booted, args: readonly string[], options?: RunOptions) {
  const { code, out, err } = await machine.openbox(args, options);
  assert.equal(code, 0, `${args.join(" ")}: ${out}${err}`);
  return { out, err };
}

/** Properties of a unit, as `systemctl show` has them. */
async function show(
  machine: Booted,
  unit: string,
  properties: readonly string[],
  { user }: RunOptions = {},
): Promise<Record<string, string>> {
  const { out } = await machine.run(
    ["systemctl", ...(user ? ["--user"] : []), "show", unit, `--property=${properties.join()}`],
    user ? asUser : {},
  );
  return Object.fromEntries(
    out.trim().split("\n").map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

const asUser: RunOptions = { user: ALICE, env: { XDG_RUNTIME_DIR: `/run/user/${ALICE.uid}` } };

/** Waits until the unit has been started anew more often than `before`. */
const restarted = (machine: Booted, unit: string, before = 0) =>
  eventually(`${unit} is started anew`, async () => {
    const { NRestarts, ActiveState, MainPID } = await show(machine, unit, [
      "NRestarts",
      "ActiveState",
      "MainPID",
    ]);
    return Number(NRestarts) > before && ActiveState === "active" && Number(MainPID);
  }, 30_000);

/** Has the service be missed after so many seconds. */
async function watchEvery(machine: Booted, unit: string, seconds: number): Promise<void> {
  const folder = `${machine.root}/etc/systemd/system/${unit}.service.d`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/watchdog.conf`, `[Service]\nWatchdogSec=${seconds}\n`);
  await machine.run(["systemctl", "daemon-reload"]);
  await machine.run(["systemctl", "restart", unit]);
}

const processes = async (machine: Booted, pattern: string) =>
  (await machine.run(["pgrep", "-f", pattern])).out.split("\n").filter((line) => line !== "");

Deno.test("openbox as services of systemd", onLinux, async (t) => {
  await using machine = await bootMachine();
  const nodeToken = async () =>
    JSON.parse((await must(machine, ["node", "token", "--tag", "box", "--json"])).out)
      .token as string;

  await step(
    t,
    "a control plane is ready when its installation returns, as a user of its own",
    async () => {
      const { out } = await must(machine, ["service", "install", "control"]);
      assert.match(out, /^written \/etc\/systemd\/system\/openbox-control\.service$/m);
      assert.match(out, /^openbox-control\.service is running$/m);
      const unit = ["ActiveState", "SubState", "Type", "User", "UnitFileState"];
      assert.deepEqual(await show(machine, "openbox-control", unit), {
        ActiveState: "active",
        SubState: "running",
        Type: "notify",
        User: "openbox",
        UnitFileState: "enabled",
      });
      const token = "/var/lib/openbox/control/bootstrap_token";
      await must(machine, ["login", "--server", SERVER, "--token-file", token]);
    },
  );

  await step(t, "it is locked in: systemd rates its exposure below 2", async () => {
    const { out } = await machine.run(["systemd-analyze", "security", "openbox-control"]);
    const [, exposure] = /exposure level for openbox-control\.service: ([\d.]+)/.exec(out) ?? [];
    assert.ok(Number(exposure) < 2, out.slice(-200));
    const { code, err } = await machine.run([
      "systemd-analyze",
      "verify",
      "/etc/systemd/system/openbox-control.service",
    ]);
    assert.deepEqual([code, err], [0, ""]);
  });

  await step(
    t,
    "installed again it goes on, with another port it is started anew and has the right to it",
    async () => {
      const before = await show(machine, "openbox-control", ["MainPID"]);
      const { out } = await must(machine, ["service", "install", "control"]);
      assert.match(out, /^unchanged \/etc/m);
      assert.deepEqual(await show(machine, "openbox-control", ["MainPID"]), before);
      await must(machine, ["service", "install", "control", "--addr", "127.0.0.1:443"]);
      const { out: rated } = await machine.run(["systemd-analyze", "security", "openbox-control"]);
      assert.match(rated, /exposure level for openbox-control\.service: 1\./);
      await must(machine, ["service", "install", "control"]);
      assert.notDeepEqual(await show(machine, "openbox-control", ["MainPID"]), before);
    },
  );

  await step(t, "an agent is installed with a token that lies nowhere afterwards", async () => {
    const token = await nodeToken();
    await must(machine, ["service", "install", "agent", "--server", SERVER], {
      env: { OPENBOX_ENROLL_TOKEN: token },
    });
    const [node] = JSON.parse((await must(machine, ["nodes", "--json"])).out).nodes;
    assert.deepEqual([node.online, node.tags], [true, ["box"]]);
    const secret = token.slice("enroll_".length, token.indexOf("."));
    const { out } = await machine.run(["grep", "-r", secret, "/etc", "/var/lib", "/run", "/root"]);
    assert.equal(out, "");
  });

  await step(t, "commands get nothing of what systemd tells its service", async () => {
    const { out } = await must(machine, ["-t", "box", "env; id -u"]);
    assert.doesNotMatch(out, /NOTIFY_SOCKET|WATCHDOG|LISTEN_|INVOCATION_ID|OPENBOX_HOME/);
    assert.match(out, /^0$/m);
  });

  await step(t, "its status and the doctor see what runs, and what does not", async () => {
    const { out } = await must(machine, ["service", "status", "--json"]);
    const { services } = JSON.parse(out);
    const states = services.map((
      one: Record<string, unknown>,
    ) => [one.service, one.state, one.scope]);
    assert.deepEqual(states, [
      ["agent", "running", "system"],
      ["control", "running", "system"],
      ["daemon", "not_installed", "user"],
    ]);
    assert.match((await must(machine, ["doctor"])).out, /^nothing is wrong/m);
    await machine.run(["systemctl", "stop", "openbox-agent"]);
    const { code, out: told } = await machine.openbox(["doctor"]);
    assert.equal(code, 1, told);
    assert.match(told, /^wrong +services +openbox-agent\.service is stopped$/m);
    await machine.run(["systemctl", "start", "openbox-agent"]);
  });

  await step(
    t,
    "a control plane that hangs is killed and started anew, one that answers is left alone",
    async () => {
      await watchEvery(machine, "openbox-control", 2);
      await new Promise((resolve) => setTimeout(resolve, 5000)); // longer than the watchdog waits
      const { NRestarts, MainPID } = await show(machine, "openbox-control", [
        "NRestarts",
        "MainPID",
      ]);
      assert.equal(NRestarts, "0");
      await machine.run(["kill", "-STOP", MainPID!]);
      assert.notEqual(await restarted(machine, "openbox-control"), Number(MainPID));
      const { out } = await machine.run(["journalctl", "-u", "openbox-control", "-o", "cat"]);
      assert.match(out, /Watchdog timeout/);
      await must(machine, ["whoami"]);
    },
  );

  await step(
    t,
    "with an agent that hangs end its runs, and what a finished run left stays",
    async () => {
      await watchEvery(machine, "openbox-agent", 2);
      await must(machine, ["-t", "box", "nohup sleep 43210 >/dev/null 2>&1 &"]);
      const running = machine.openbox(["-t", "box", "sleep 43211"]);
      await eventually(
        "both run",
        async () => (await processes(machine, "^sleep 4321")).length === 2,
      );
      const { MainPID } = await show(machine, "openbox-agent", ["MainPID"]);
      await machine.run(["kill", "-STOP", MainPID!]);
      assert.equal((await running).code, 255);
      await restarted(machine, "openbox-agent");
      await eventually(
        "the run is gone",
        async () => (await processes(machine, "^sleep 43211")).length === 0,
      );
      const left = await processes(machine, "^sleep 43210");
      assert.equal(left.length, 1);
      // else its unit is not forgotten once it is uninstalled
      await machine.run(["kill", ...left]);
      await eventually(
        "it serves again",
        async () => (await machine.openbox(["-t", "box", "true"])).code === 0,
        20_000,
      );
    },
  );

  await step(t, "told to end, a service ends in good order", async () => {
    for (const unit of ["openbox-agent", "openbox-control"]) {
      const { code } = await machine.run(["systemctl", "stop", unit]);
      assert.equal(code, 0);
      const { Result, ExecMainStatus } = await show(machine, unit, ["Result", "ExecMainStatus"]);
      assert.deepEqual([Result, ExecMainStatus], ["success", "0"], unit);
      const { out } = await machine.run(["journalctl", "-u", unit, "-o", "cat", "-n", "20"]);
      assert.match(out, /"ending/, unit);
    }
    for (const unit of ["openbox-control", "openbox-agent"]) {
      await machine.run(["systemctl", "start", unit]);
    }
  });

  await step(t, "BST-10: an agent whose node was removed is not started again", async () => {
    const [node] = JSON.parse((await must(machine, ["nodes", "--json"])).out).nodes;
    const { NRestarts } = await show(machine, "openbox-agent", ["NRestarts"]);
    await must(machine, ["node", "rm", node.id]);
    await machine.run(["systemctl", "restart", "openbox-agent"]); // asks at once
    const ended = await eventually("it has ended", async () => {
      const unit = await show(machine, "openbox-agent", [
        "ActiveState",
        "ExecMainStatus",
        "NRestarts",
      ]);
      return unit.ActiveState === "failed" && unit;
    }, 20_000);
    assert.equal(ended.ExecMainStatus, "3");
    assert.ok(Number(ended.NRestarts) <= Number(NRestarts), ended.NRestarts);
  });

  await step(t, "a user has an agent of his own, which goes on without a login", async () => {
    const env = { OPENBOX_ENROLL_TOKEN: await nodeToken() };
    const args = ["service", "install", "agent", "--server", SERVER, "--addr", "127.0.0.1:7601"];
    const { out } = await must(machine, args, { user: ALICE, env });
    assert.match(out, /^written \/home\/alice\/\.config\/systemd\/user\/openbox-agent\.service$/m);
    const { out: linger } = await machine.run(["ls", "/var/lib/systemd/linger"]);
    assert.equal(linger, "alice\n");
    assert.equal((await must(machine, ["-t", "box", "id", "-un"])).out, "alice\n");
    const refused = await machine.openbox(["service", "install", "control"], { user: ALICE });
    assert.match(refused.err, /not_allowed[^]*sudo openbox service install control/);
  });

  await step(t, "a user's daemon is started by its socket, with his first command", async () => {
    const admin = JSON.parse((await must(machine, ["token", "create", "--json"])).out).token;
    const login = ["login", "--server", SERVER];
    await must(machine, login, { user: ALICE, env: { OPENBOX_TOKEN: admin } });
    const daemon = { user: ALICE, env: { ...asUser.env, OPENBOX_NO_DAEMON: "" } };
    const { out } = await must(machine, ["service", "install", "daemon"], daemon);
    assert.match(out, /^openboxd\.socket is listening$/m);
    const socket = `${machine.root}/home/alice/.openbox/openboxd.sock`;
    const { isSocket, mode, uid } = await Deno.lstat(socket);
    assert.deepEqual([isSocket, mode! & 0o777, uid], [true, 0o600, ALICE.uid]);
    const state = async () =>
      (await show(machine, "openboxd", ["ActiveState"], { user: ALICE })).ActiveState;
    assert.equal(await state(), "inactive");
    const status = JSON.parse((await must(machine, ["daemon", "status", "--json"], daemon)).out);
    assert.equal(status.running, true);
    assert.equal(await state(), "active");
    const { MainPID } = await show(machine, "openboxd", ["MainPID"], { user: ALICE });
    assert.equal(status.pid, Number(MainPID));
    await must(machine, ["daemon", "stop"], daemon);
    await eventually("it has ended", async () => await state() === "inactive");
    assert.equal(
      JSON.parse((await must(machine, ["daemon", "status", "--json"], daemon)).out).running,
      true,
    );
    await must(machine, ["service", "uninstall", "daemon"], daemon);
    assert.equal(await state(), "inactive");
    await assert.rejects(Deno.lstat(socket), Deno.errors.NotFound);
  });

  await step(t, "with it ends the lingering that it began", async () => {
    const { out: removed } = await must(machine, ["service", "uninstall", "agent"], {
      user: ALICE,
    });
    assert.match(removed, /^removed \/home\/alice/m);
    const { out: left } = await machine.run(["ls", "/var/lib/systemd/linger"]);
    assert.equal(left, "");
  });

  await step(t, "what a service starts may not lie where things are cleaned away", async () => {
    const copied = await machine.run(["cp", "-r", "/opt/openbox", "/tmp/openbox"]);
    assert.equal(copied.code, 0, copied.err);
    const program = machine.program.replace("/opt/", "/tmp/");
    const { code, err } = await machine.run([program, "service", "install", "control"]);
    assert.equal(code, 2, err);
    assert.match(err, /\/tmp\/openbox.* is no place for what a service starts/);
    await machine.run(["rm", "-rf", "/tmp/openbox"]);
  });

  await step(
    t,
    "uninstalled, nothing is left but what it keeps, and it says where that is",
    async () => {
      const agent = await must(machine, ["service", "uninstall", "agent"]);
      assert.match(agent.err, /\/var\/lib\/openbox-agent; to remove that too: rm -r/);
      const control = await must(machine, ["service", "uninstall", "control"]);
      assert.match(control.err, /rm -r \/var\/lib\/openbox && userdel openbox/);
      await machine.run(["rm", "-r", "/etc/systemd/system/openbox-agent.service.d"]); // of this test
      await machine.run(["rm", "-r", "/etc/systemd/system/openbox-control.service.d"]);
      const places = ["/etc", "/run/systemd", "/var/cache"];
      const { out: files } = await machine.run(["find", ...places, "-name", "*openbox*"]);
      assert.equal(files, "");
      await eventually("systemd has forgotten them", async () => {
        const { out } = await machine.run(["systemctl", "list-units", "--all", "openbox*"]);
        return /^0 loaded units listed/m.test(out);
      }, 30_000);
      assert.deepEqual(await processes(machine, "openbox.*(agent|control)"), []);
      const { out: kept } = await machine.run([
        "ls",
        "/var/lib/openbox/control",
        "/var/lib/openbox-agent",
      ]);
      assert.match(kept, /ca_key/);
    },
  );
});
