import assert from "node:assert/strict";
import { type Finding, findings } from "../../../../src/cli/doctor/check.ts";
import { checkClock } from "../../../../src/cli/doctor/clock.ts";
import { checkDaemon } from "../../../../src/cli/doctor/daemon.ts";
import { checkOwner, checkPath } from "../../../../src/cli/doctor/executable.ts";
import { checkHome } from "../../../../src/cli/doctor/home.ts";
import { startedProgram } from "../../../../src/cli/doctor/machine.ts";
import { checkNodes } from "../../../../src/cli/doctor/nodes.ts";
import { checkServices, type SeenService } from "../../../../src/cli/doctor/service.ts";
import { OpenboxError } from "../../../../src/errors.ts";
import { launchd } from "../../../../src/service/launchd.ts";
import { systemd } from "../../../../src/service/systemd.ts";
import { VERSION } from "../../../../src/version.ts";
import { agentSpec } from "../../service/spec.ts";
import { aNode } from "../fake_control.ts";

const options = { signal: AbortSignal.timeout(60_000) };
const verdicts = (found: readonly Finding[]) => found.map(({ verdict }) => verdict);

Deno.test("what a check throws is wrong, with the error's own way out", async () => {
  const error = new OpenboxError("unsafe_file", "/box is open", { hint: "chmod 700 /box" });
  const found = await findings({ name: "x", look: () => Promise.reject(error) }, options);
  assert.deepEqual(found, [{ verdict: "wrong", text: "/box is open", hint: "chmod 700 /box" }]);
  const stopped = AbortSignal.abort(new Error("stop"));
  await assert.rejects(
    findings({ name: "x", look: () => Promise.reject(error) }, { signal: stopped }),
    /stop/,
  );
});

Deno.test("CFG-1 CFG-9: a home that is open, another's, read-only or on a network is told with what mends it", () => {
  const good = { isDirectory: true, uid: 1000, mode: 0o40700 };
  const home = { path: "/home/me/.openbox", info: good, isWritable: true, network: undefined };
  assert.deepEqual(verdicts(checkHome(home, 1000)), ["ok"]);
  const [open] = checkHome({ ...home, info: { ...good, mode: 0o40755 } }, 1000);
  assert.deepEqual([open!.verdict, open!.hint], ["wrong", "chmod 700 /home/me/.openbox"]);
  const [foreign] = checkHome({ ...home, info: { ...good, uid: 0 } }, 1000);
  assert.deepEqual([foreign!.verdict, foreign!.hint], ["wrong", "chown 1000 /home/me/.openbox"]);
  const [readOnly] = checkHome({ ...home, isWritable: false }, 1000);
  assert.deepEqual(readOnly!.verdict, "wrong");
  assert.match(readOnly!.hint!, /OPENBOX_HOME=/);
  const [shared] = checkHome({ ...home, network: "NFS" }, 1000);
  assert.equal(shared!.verdict, "warning");
  assert.match(shared!.text, /is on NFS/);
  assert.equal(checkHome({ ...home, info: undefined }, 1000)[0]!.verdict, "none");
  assert.equal(
    checkHome({ ...home, info: undefined, isWritable: false }, 1000)[0]!.verdict,
    "wrong",
  );
  const [file] = checkHome({ ...home, info: { ...good, isDirectory: false } }, 1000);
  assert.match(file!.text, /is no directory/);
});

Deno.test("an executable that a shell does not find, or another one, is told", () => {
  const program = "/usr/local/bin/openbox", mine = { path: program, real: program };
  assert.equal(checkPath({ program, real: program, onPath: [mine] }).verdict, "ok");
  const link = { path: "/home/me/bin/openbox", real: program };
  assert.equal(checkPath({ program, real: program, onPath: [link] }).verdict, "ok");
  const absent = checkPath({ program, real: program, onPath: [] });
  assert.deepEqual([absent.verdict, absent.hint], [
    "warning",
    'export PATH="$PATH:/usr/local/bin"',
  ]);
  const old = { path: "/usr/bin/openbox", real: "/usr/bin/openbox" };
  assert.match(checkPath({ program, real: program, onPath: [old, mine] }).text, /another openbox/);
  assert.equal(checkPath({ program: undefined, real: undefined, onPath: [] }).verdict, "none");
});

Deno.test("an executable or a cache that others may change is wrong", () => {
  const place = { path: "/opt/openbox", uid: 0, mode: 0o755 };
  assert.equal(checkOwner(place, 1000).verdict, "ok");
  assert.equal(checkOwner({ ...place, uid: 1001 }, 1000).hint, "chown 1000 /opt/openbox");
  assert.equal(checkOwner({ ...place, mode: 0o757 }, 1000).hint, "chmod o-w /opt/openbox");
});

Deno.test("a clock is compared with the control plane's", () => {
  assert.equal(checkClock(2000).verdict, "ok");
  assert.equal(checkClock(undefined).verdict, "none");
  const behind = checkClock(-60_000);
  assert.deepEqual([behind.verdict, behind.text], [
    "warning",
    "this machine is 60 s behind the control plane",
  ]);
  const ahead = checkClock(10 * 60_000);
  assert.equal(ahead.verdict, "wrong");
  assert.match(ahead.text, /600 s ahead of/);
  assert.match(ahead.hint!, /date -u/);
});

Deno.test("each node is judged by what comes back from its address", async () => {
  const now = 1_767_225_600_000;
  const answers: Record<string, string> = {
    "10.0.0.1:7600": "SSH-2.0-OpenSSH_openbox\r\n",
    "10.0.0.2:7600": "HTTP/1.1 400\r\n",
  };
  const greet = (addr: string) =>
    addr in answers ? Promise.resolve(answers[addr]!) : Promise.reject(new Error("refused"));
  const found = await checkNodes(
    [
      aNode({ name: "good", addr: "10.0.0.1:7600" }),
      aNode({ name: "other", addr: "10.0.0.2:7600" }),
      aNode({ name: "closed", addr: "10.0.0.3:7600" }),
      aNode({ name: "off", online: false, last_seen: now / 1000 - 7200 }),
      aNode({ name: "new", online: false, last_seen: 0 }),
      aNode({ name: "twice", cloned: true }),
      aNode({
        name: "deaf",
        addr: "10.0.0.1:7600",
        revocations: { version: 1, age_seconds: 1e6, stale: true },
      }),
    ],
    { greet, now },
    options,
  );
  assert.deepEqual(verdicts(found), [
    "ok",
    "wrong",
    "wrong",
    "warning",
    "warning",
    "wrong",
    "wrong",
  ]);
  assert.match(found[1]!.text, /other: what listens at .* is no openbox agent/);
  assert.match(found[2]!.text, /closed is online, but cannot be reached at 10\.0\.0\.3:7600/);
  assert.match(found[2]!.hint!, /port 7600/);
  assert.equal(found[3]!.text, "off is offline, last heard 2 h ago");
  assert.equal(found[4]!.text, "new is offline, last heard never");
  assert.deepEqual(verdicts(await checkNodes([], { greet, now }, options)), ["warning"]);
});

Deno.test("a service that fails, starts what is gone, or has no limits is told with the command for more", () => {
  const service: SeenService = {
    service: "agent",
    scope: "system",
    unit: "openbox-agent.service",
    file: "/etc/systemd/system/openbox-agent.service",
    installed: true,
    enabled: true,
    state: "running",
    pid: 7,
    restarts: 0,
    delegated: true,
    failure: undefined,
    missingProgram: undefined,
    logCommand: "journalctl -u openbox-agent",
  };
  const one = (more: Partial<SeenService>) => checkServices([{ ...service, ...more }])[0]!;
  assert.equal(one({}).verdict, "ok");
  assert.equal(one({ installed: false }).verdict, "none");
  const failed = one({ state: "failed", failure: "watchdog" });
  assert.deepEqual([failed.verdict, failed.text, failed.hint], [
    "wrong",
    "openbox-agent.service is failed (watchdog)",
    "journalctl -u openbox-agent",
  ]);
  const gone = one({ missingProgram: "/opt/openbox" });
  assert.deepEqual([gone.verdict, gone.hint], ["wrong", "openbox service install agent"]);
  assert.equal(one({ enabled: false }).verdict, "warning");
  assert.equal(one({ restarts: 3 }).verdict, "warning");
  assert.match(one({ delegated: false }).text, /cannot have limits/);
});

Deno.test("a daemon of another version is told, none is none", () => {
  const status = {
    pid: 7,
    version: VERSION,
    started_at: 0,
    connections: [],
    runs: 0,
    idle_end_in_seconds: null,
    timers: 2,
  };
  assert.equal(checkDaemon(status).verdict, "ok");
  assert.equal(checkDaemon(undefined).verdict, "none");
  const old = checkDaemon({ ...status, version: "0.0.9" });
  assert.deepEqual([old.verdict, old.hint], ["warning", "openbox daemon stop"]);
});

Deno.test("what a unit or a plist starts is read from it as it was written", () => {
  const managers = [
    systemd({ userDirectory: "/home/me", uid: 1000 }),
    launchd({ userHome: "/Users/me", uid: 501 }),
  ];
  for (const program of ["/usr/local/bin/openbox", '/opt/my "100%" <box> & co/openbox']) {
    for (const manager of managers) {
      const [file] = manager.files(agentSpec({ program }));
      assert.equal(startedProgram(file!.text), program);
    }
  }
  assert.equal(startedProgram("[Service]\nExecStart=openbox\n"), undefined);
});
