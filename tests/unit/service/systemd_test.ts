import assert from "node:assert/strict";
import { systemd } from "../../../src/service/systemd.ts";
import { agentSpec } from "./spec.ts";

const manager = systemd({ userDirectory: "/home/me/.config/systemd/user", uid: 1000 });
const system = { service: "agent", scope: "system" } as const;
const words = (steps: readonly { readonly command: readonly string[] }[]) =>
  steps.map(({ command }) => command.join(" "));

/** The settings of a unit, as systemd.syntax(7) has them: the last one of a name counts. */
function settings(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split("\n").flatMap((line) => {
      const [, name, value] = /^([A-Z]\w*)=(.*)$/.exec(line) ?? [];
      return name === undefined ? [] : [[name, value!]];
    }),
  );
}

Deno.test("an agent as root is a unit of the machine that tells when it is ready and that it lives", () => {
  const [unit, ...others] = manager.files(agentSpec());
  assert.equal(others.length, 0);
  assert.equal(unit!.path, "/etc/systemd/system/openbox-agent.service");
  const { Type, ExecStart, KillMode, WatchdogSec, WatchdogSignal, Delegate, WantedBy } = settings(
    unit!.text,
  );
  assert.deepEqual({ Type, KillMode, WatchdogSec, WatchdogSignal, Delegate, WantedBy }, {
    Type: "notify",
    KillMode: "process",
    WatchdogSec: "2min",
    WatchdogSignal: "SIGKILL",
    Delegate: "yes",
    WantedBy: "multi-user.target",
  });
  assert.equal(ExecStart, "/usr/local/bin/openbox agent --server=https://box.example.com");
  assert.match(unit!.text, /^Environment=OPENBOX_HOME=\/var\/lib\/openbox-agent$/m);
  assert.match(unit!.text, /^Environment=OPENBOX_CACHE=\/var\/cache\/openbox-agent$/m);
});

Deno.test("a user's agent is a unit of his, with his home, and goes on without a login", () => {
  const spec = agentSpec({ scope: "user", home: "/home/me/my box", lingers: true });
  const [unit] = manager.files(spec);
  assert.equal(unit!.path, "/home/me/.config/systemd/user/openbox-agent.service");
  assert.match(unit!.text, /^Environment="OPENBOX_HOME=\/home\/me\/my box"$/m);
  assert.equal(settings(unit!.text).WantedBy, "default.target");
  assert.doesNotMatch(unit!.text, /OOMScoreAdjust|StateDirectory|OPENBOX_CACHE/);
  assert.match(unit!.text, /^\[X-Openbox\]\nLingers=yes$/m);
  assert.deepEqual(words(manager.prepare(spec)), ["loginctl enable-linger 1000"]);
  assert.deepEqual(
    words(manager.forget(spec, { lingers: true })).at(-1),
    "loginctl disable-linger 1000",
  );
});

Deno.test("what a flag holds stays one word, and is no setting, variable or specifier", () => {
  const flags = ["--name=a b", "--name=%h$HOME", `--name="\\`, "--name=x\nUser=root", "--name="];
  const [unit] = manager.files(agentSpec({ program: "/opt/my $box/openbox", flags }));
  const line = settings(unit!.text).ExecStart;
  assert.equal(
    line,
    String
      .raw`"/opt/my $box/openbox" agent "--name=a b" --name=%%h$$HOME "--name=\"\\" "--name=x\x0aUser=root" --name=`,
  );
  assert.equal(settings(unit!.text).User, undefined);
});

Deno.test("the control plane is locked in as a user of its own, who is made before it starts", () => {
  const spec = agentSpec({ service: "control", home: "/var/lib/openbox", flags: [] });
  const [unit, user] = manager.files(spec);
  const set = settings(unit!.text);
  assert.equal(set.User, "openbox");
  assert.equal(set.ProtectSystem, "strict");
  assert.equal(set.CapabilityBoundingSet, "");
  assert.equal(set.PrivateUsers, "yes");
  assert.equal(set.LimitCORE, "0");
  assert.equal(set.Requires, "openbox-user.service");
  assert.match(user!.text, /^ExecStart=systemd-sysusers --inline "u openbox /m);
  const [low] = manager.files({ ...spec, lowPort: true });
  assert.equal(settings(low!.text).AmbientCapabilities, "CAP_NET_BIND_SERVICE");
  assert.equal(settings(low!.text).PrivateUsers, undefined);
});

Deno.test("the daemon is started by its socket, which is its user's alone", () => {
  const spec = agentSpec({
    service: "daemon",
    scope: "user",
    home: "/home/me/.openbox",
    flags: [],
  });
  const [socket, service] = manager.files(spec);
  assert.equal(settings(socket!.text).ListenStream, "/home/me/.openbox/openboxd.sock");
  assert.equal(settings(socket!.text).SocketMode, "0600");
  assert.equal(settings(socket!.text).DirectoryMode, "0700");
  assert.equal(settings(service!.text).Type, "notify");
  assert.deepEqual(words(manager.activate(spec, { changed: true })), [
    "systemctl --user daemon-reload",
    "systemctl --user enable openboxd.socket",
    "systemctl --user restart openboxd.socket",
  ]);
});

Deno.test("a service that is as it should be is started, not started anew", () => {
  assert.deepEqual(words(manager.activate(agentSpec(), { changed: false })), [
    "systemctl enable openbox-agent.service",
    "systemctl start openbox-agent.service",
  ]);
});

Deno.test("no secret has a place in a unit", () => {
  for (const service of ["agent", "control", "daemon"] as const) {
    const scope = service === "daemon" ? "user" : "system";
    for (const { text } of manager.files(agentSpec({ service, scope, flags: [] }))) {
      assert.doesNotMatch(text, /TOKEN|PASSPHRASE|CA_KEY/);
    }
  }
});

Deno.test("services that cannot be are refused with the way out", () => {
  assert.throws(() => manager.files(agentSpec({ service: "control", scope: "user" })), {
    hint: /^sudo openbox service install control$/,
  });
  assert.throws(() => manager.files(agentSpec({ service: "daemon", scope: "system" })), {
    hint: /as that user/,
  });
});

Deno.test("what systemd says of a unit becomes a state", () => {
  const show = (active: string, sub: string, more = "") =>
    manager.askStatus(system).read(
      `ActiveState=${active}\nSubState=${sub}\nUnitFileState=enabled\nMainPID=42\nNRestarts=3\nResult=success\n${more}`,
      true,
    );
  assert.deepEqual(show("active", "running"), {
    unit: "openbox-agent.service",
    file: "/etc/systemd/system/openbox-agent.service",
    enabled: true,
    state: "running",
    pid: 42,
    restarts: 3,
    delegated: undefined,
    failure: undefined,
  });
  assert.equal(show("activating", "start").state, "starting");
  assert.equal(show("activating", "auto-restart").state, "failing");
  assert.equal(show("deactivating", "stop-sigterm").state, "stopping");
  assert.equal(show("inactive", "dead").state, "stopped");
  assert.equal(manager.askStatus(system).read("", false).state, "stopped");
  const failed = manager.askStatus(system).read("ActiveState=failed\nResult=watchdog\n", true);
  assert.deepEqual([failed.state, failed.failure], ["failed", "watchdog"]);
});
