/** `--user` and `run_as`: commands as another login of the node, by an agent that is root. */
import assert from "node:assert/strict";
import { makeAccount } from "../fixtures/account.ts";
import { requireComponent } from "../fixtures/component.ts";
import { type Done, startFleet, step } from "../fixtures/fleet.ts";
import { eventually, isAlive, pidsIn } from "../fixtures/processes.ts";

/** What the account finds first in its PATH: if one of these ran as root, that would be told here. */
const PROFILE = `
mkdir -p ~/bin
for name in cat chown setpriv sh id setsid mkfifo; do
  printf '#!/bin/sh\\n/usr/bin/id -u >>%s/ran\\nexec /usr/bin/%s "$@"\\n' ~ $name >~/bin/$name
  chmod +x ~/bin/$name
done
export PATH=~/bin:$PATH ONLY_OF_PROFILE=1
`;

const lines = ({ code, out, err }: Done) => {
  assert.equal(code, 0, err);
  assert.equal(err, "");
  return out.split("\n").slice(0, -1);
};

Deno.test(
  "commands as another login, end to end",
  requireComponent("linux-root", "unshare", "bash", "mkfifo", "ps"),
  async (t) => {
    await using account = await makeAccount(PROFILE);
    const { name, uid, extraGid, home, wrapper } = account;
    await using fleet = await startFleet({
      agents: [
        { name: "box", wrapper, settings: `logins = ["${name}"]\n` },
        { name: "as", wrapper, settings: `run_as = "${name}"\n` },
      ],
    });
    const as = (...args: string[]) => fleet.call(["-n", "box", "--user", name, ...args]);

    await step(t, "EXE-7: uid, real groups, umask 022, its home, nothing of root's", async () => {
      const [who, groups, mask, where] = lines(await as("id -u; id -G; umask; pwd"));
      assert.deepEqual([who, mask, where], [String(uid), "0022", home]);
      assert.deepEqual(groups!.split(" ").sort(), [String(uid), String(extraGid)]);
      const status = lines(
        await as("grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):' /proc/self/status"),
      );
      assert.deepEqual(status.map((line) => line.split(/\s+/)), [
        ["CapInh:", "0000000000000000"],
        ["CapPrm:", "0000000000000000"],
        ["CapEff:", "0000000000000000"],
        ["CapAmb:", "0000000000000000"],
        ["NoNewPrivs:", "0"], // sudo works as by ssh
      ]);
      const fds = lines(
        await as('for fd in /proc/$$/fd/*; do [ ! -e "$fd" ] || echo "${fd##*/}"; done'),
      );
      assert.deepEqual(fds, ["0", "1", "2"]);
      assert.equal((await Deno.stat("/dev/null")).uid, 0, "no device of the machine is given away");
    });

    await step(t, "RUN-18: its environment is the login's own, and what -e says", async () => {
      const env = lines(await as("-e", "X=a  b", "-e", "UID=5", "env"));
      const own = env.filter((line) => !/^(PWD|_|SHLVL)=/.test(line)).sort();
      const [node] = fleet.agents;
      assert.deepEqual(own.filter((line) => !/^(PATH|LANG)=/.test(line)), [
        `HOME=${home}`,
        `LOGNAME=${name}`,
        `OPENBOX_NODE=${node!.nodeId}`,
        "SHELL=/bin/bash",
        "UID=5",
        `USER=${name}`,
        "X=a  b",
      ]);
      assert.match(own.find((line) => line.startsWith("PATH="))!, new RegExp(`=${home}/bin:/usr/`));
    });

    await step(t, "RUN-1, RUN-5: streams, /dev/stderr and exit codes are as ever", async () => {
      const { code, out, err } = await fleet.call(
        ["-n", "box", "--user", name, "cat; echo out >/dev/stdout; echo err >/dev/stderr; exit 7"],
        { stdin: "in\n" },
      );
      assert.deepEqual([code, out, err], [7, "in\nout\n", "err\n"]);
      assert.equal((await as("kill -9 $$")).code, 137);
      assert.equal((await as("no-such-program")).code, 127);
      const words = Array<string>(4).fill("x".repeat(50_000));
      const long = await as("sh", "-c", "id -u", ...words);
      assert.deepEqual(lines(long), [String(uid)], "a line that is read from a file");
    });

    await step(t, "EXE-7: nothing of the caller's runs as root on the way", async () => {
      const { err } = await as("-e", "LD_PRELOAD=/no/such.so", ":");
      assert.equal(err.match(/LD_PRELOAD cannot be preloaded/g)?.length, 1, err);
      await as("-s", "evil", "cat </dev/null; id -u");
      await as("-s", "evil", "true");
      const ran = (await Deno.readTextFile(`${home}/ran`)).trim().split("\n");
      assert.deepEqual(new Set(ran), new Set([String(uid)]));
      await fleet.call(["session", "end", "evil"]);
    });

    await step(t, "RUN-19: it starts only where the login may be", async () => {
      await Deno.mkdir(`${home}/sub`);
      await Deno.mkdir(`${fleet.scratch}/inner`, { mode: 0o755 });
      assert.deepEqual(lines(await as("-C", "sub", "pwd")), [`${home}/sub`]);
      const cases: [string, RegExp][] = [
        [`${fleet.scratch}/inner`, /bad_directory: not started: .* permission denied/],
        ["none", /bad_directory: not started: .*\/none as obxtest: there is no such directory/],
        ["/etc/passwd", /bad_directory: not started: .* it is not a directory/],
      ];
      for (const [cwd, message] of cases) {
        const { code, err } = await as("-C", cwd, "pwd");
        assert.equal(code, 255);
        assert.match(err, message);
      }
    });

    await step(t, "SEQ-1, SES-7: a session is the login's, and stays that", async () => {
      assert.deepEqual(lines(await as("-s", "work", "cd /usr; x=1; id -u")), [String(uid)]);
      const again = ["-s", "work", "echo $x $PWD $USER; id -G >&2; cat"];
      const { out, err, code } = await fleet.call(again, { stdin: "in" });
      assert.deepEqual([code, out], [0, `1 /usr ${name}\nin`]);
      assert.deepEqual(err.trim().split(" ").sort(), [String(uid), String(extraGid)]);
      assert.deepEqual(lines(await as("-s", "work", "echo $x")), ["1"]);
      await fleet.call(["-n", "box", "-s", "plain", "true"]);
      const other = await as("-s", "plain", "true");
      assert.match(other.err, /session_isolation_mismatch: .* was started without --user/);
      const { code: ended } = await as("-s", "work", "--timeout", "300ms", "sleep 300");
      assert.equal(ended, 124);
      assert.deepEqual(lines(await as("-s", "work", "echo $x")), ["1"]);
    });

    await step(t, "RUN-20: a terminal is the login's own, to open again by its path", async () => {
      const { code, out } = await as(
        "--tty",
        'stat -c %u "$(tty)"; echo on >"$(tty)"; id -u >/dev/tty',
      );
      assert.equal(code, 0, out);
      assert.deepEqual(out.split("\r\n").slice(0, 3), [String(uid), "on", String(uid)]);
    });

    await step(t, "RUN-13: a time-out takes the whole tree", async () => {
      const file = `${home}/pids`;
      const script = `(setsid sleep 300 & echo $! >>${file}); echo $$ >>${file}; sleep 301`;
      assert.equal((await as("--timeout", "500ms", script)).code, 124);
      for (const pid of await pidsIn(file, 2)) {
        await eventually("it is gone", () => !isAlive(pid));
      }
    });

    await step(
      t,
      "EXE-7, CERT-4: a login that is not allowed, or not there, is refused",
      async () => {
        const file = `${fleet.scratch}/ran`;
        for (const login of ["daemon", "nosuch"]) {
          const { code, err } = await fleet.call(["-n", "box", "--user", login, "touch", file]);
          assert.equal(code, 255);
          assert.match(
            err,
            new RegExp(
              `^openbox: login_not_allowed: not started: .* as ${login}: root, ${name}\n` +
                ` {2}hint: .*logins in .*/agent/agent\\.toml`,
            ),
          );
        }
        const root = await fleet.call(["-n", "as", "--user", "root", "touch", file]);
        assert.match(root.err, /login_not_allowed/);
        await assert.rejects(Deno.stat(file));
      },
    );

    await step(t, "EXE-7: run_as is whom commands run as when no login is named", async () => {
      const plain = await fleet.call(["-n", "as", "id -un; pwd"]);
      assert.deepEqual(lines(plain), [name, home]);
      const named = await fleet.call(["-n", "as", "--user", name, "-s", "mine", "id -un"]);
      assert.deepEqual(lines(named), [name]);
    });
  },
);
